# The models, as a client that knows OpenAI's API lists them.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;

use Trifecta::Test;
use Trifecta::Test::ModelServer;

my $t = Trifecta::Test->new(sidecars => 0, workers => 1,
    models => 'extractive test vendor/large:8b');

my $res = $t->get('/v1/models');
is $res->{status}, 200, 'the models';
is $res->{json}{object}, 'list', 'a list';
is_deeply [map { $_->{id} } @{ $res->{json}{data} }],
    ['extractive', 'test', 'vendor/large:8b'],
    'of_trifecta_models_in_their_order';

for my $model (@{ $res->{json}{data} }) {
    is $model->{object}, 'model', "$model->{id}: object";
    like $model->{created}, qr/^\d+$/, '  created';
    is $model->{owned_by}, 'trifecta', '  owned_by';
    (my $name = $model->{id}) =~ s/([^\w.-])/sprintf '%%%02X', ord $1/ge;
    is_deeply $t->get("/v1/models/$name")->{json}, $model,
        '  and_each_has_its_path';
}

$res = $t->get('/v1/models/none');
is "$res->{status} $res->{code}", '404 model_not_found', 'none other';
is $res->{json}{error}{param}, 'model', 'by name';
is $t->get('/v1/models', token => undef)->{status}, 401, 'not_without_a_token';
is $t->post('/v1/models', '{}')->{headers}{allow}, 'GET', 'only to be read';

$t->finish;


# Models for some groups only, and those that make vectors.

my $u = Trifecta::Test->new(start => 0, workers => 1);
my $server = Trifecta::Test::ModelServer->new($u,
    (map { my $name = $_; ($name => sub { $_[0]->sse("$name says") }) }
        qw(open staff board)),
    map { ($_ => sub { $_[0]->answer(200, { data => [{ index => 0,
        embedding => [1, 0] }] }) }) } qw(vectors secret));

sub row {
    my ($name, $more) = @_;
    return "[$name]\nprovider = openai\nbase_url = " . $server->url
        . "/v1\nretrieval = off\n$more\n";
}

$u->write_file($u->dir . '/models.conf', row('board', "groups = board\n")
    . row('staff', "groups = board, the \"staff\"\nfallback = open\n")
    . row('open', '') . row('vectors', "kind = embedding\ndimensions = 2\n")
    . row('secret', "kind = embedding\ndimensions = 2\ngroups = board\n"));
$u->{opt}{sidecar}{models} = $u->dir . '/models.conf';

my (undef, $printed) = $u->run({ env => { TRIFECTA_MODELS => $u->dir
    . '/models.conf' } }, 'models', '--nginx');
is $printed, <<'END', 'nginx_is_told_who_may_use_what';
trifecta_models board staff open extractive test;
trifecta_embedding_models vectors secret;
trifecta_model_groups board "board";
trifecta_model_groups staff "board" "the \"staff\"";
trifecta_model_groups secret "board";
END
(undef, my $long) = $u->run({ env => { TRIFECTA_MODELS => $u->dir
    . '/models.conf' } }, 'models', '--long');
like $long, qr/^board .*, for the groups board$/m, 'and so is who asks';

# as an operator would do it: the printed lines, and no others

sub conf {
    my ($lines) = @_;
    $u->{opt}{http} = $lines;
    $u->{opt}{trifecta}{trifecta_models} = undef;
    $u->write_conf;
}

conf($printed);
$u->start_all;

my @all = qw(board staff open extractive test vectors secret);
my %who = (
    nobody => [[], [qw(open extractive test vectors)]],
    staff => [['the "staff"'], [qw(staff open extractive test vectors)]],
    board => [['x', 'board'], \@all],
    one => ['board', \@all],
);

for my $name (sort keys %who) {
    my ($groups, $may) = @{ $who{$name} };
    my @as = (token => $u->token(groups => $groups));
    my %may = map { $_ => 1 } @$may;

    is_deeply [map { $_->{id} } @{ $u->get('/v1/models', @as)->{json}{data} }],
        $may, "$name: lists_what_he_may_use";
    is_deeply { map { $_ => $u->get("/v1/models/$_", @as)->{status} } @all },
        { map { $_ => $may{$_} ? 200 : 404 } @all }, '  and nothing else is';

    for my $model (qw(staff board)) {
        my $want = $may{$model} ? '' : 'model_not_allowed';
        my $asked = $server->requests($model);
        my $res = $u->post('/v1/chat/completions', { model => $model,
            messages => [{ role => 'user', content => 'x' }] }, @as);
        is $res->{code} // '', $want, "  chat with $model";
        is $res->{status}, $want ? 403 : 200, '  its status';
        is $res->{json}{error}{param}, 'model', '  by name' if $want;
        $res = $u->post('/v1/responses', { model => $model, input => 'x' },
                        @as);
        is $res->{code} // '', $want, "  response of $model";
        $res = $u->post('/api/v1/query', { model => $model, query => 'x' },
                        @as);
        is $res->{code} // '', $want, "  query to $model";
        is scalar(my @now = $server->requests($model)), $asked,
            '  nobody is asked' if $want;
    }

    my $res = $u->post('/v1/embeddings', { model => 'secret', input => 'x' },
                       @as);
    is $res->{status}, $may{secret} ? 200 : 403, '  vectors';
    is $u->post('/v1/embeddings', { model => 'vectors', input => 'x' }, @as)
        ->{status}, 200, '  and those for everybody';
    is $u->post('/v1/responses', { input => 'x' }, @as)->{json}{model},
        $may->[0], 'who_names_none_gets_the_first_that_he_may_use';
}
is $u->post('/v1/embeddings', { model => 'open', input => 'x' })->{code},
    'model_not_found', 'nginx_knows_which_make_vectors';

# an nginx that was not told: the sidecar looks again

conf("trifecta_models @all[0 .. 4];\n");
my @old = $u->reload;
$u->wait_for(sub { !grep { kill 0, $_ } @old }, 10);
$u->wait_for(sub { $u->admin('/readyz')->{status} == 200 }, 20);
{
    my $asked = $server->requests;
    my $res = $u->post('/v1/chat/completions', { model => 'board',
        messages => [{ role => 'user', content => 'x' }] });
    is "$res->{status} $res->{code}", '403 model_not_allowed',
        'the_sidecar_refuses_it_as_well';
    $res = $u->post('/v1/responses', { model => 'staff', input => 'x' });
    is $res->{json}{error}{type}, 'model_not_allowed', 'as a response';
    $res = $u->post('/v1/embeddings', { model => 'secret', input => 'x' });
    is "$res->{status} $res->{code}", '403 model_not_allowed', 'vectors';
    is scalar(my @now = $server->requests), $asked, 'nobody is asked';
}

# what an operator may get wrong

for my $case (["trifecta_model_groups nosuch x;", qr/"nosuch" is in neither/],
              ["trifecta_model_groups open x;\ntrifecta_model_groups open y;",
               qr/of the same model twice/],
              ["trifecta_model_groups open \"\";", qr/a group without a name/],
              ["trifecta_embedding_models a a;", qr/the same name twice/]) {
    my ($lines, $why) = @$case;
    conf("trifecta_models open;\n$lines\n");
    local $ENV{ASAN_OPTIONS} = 'detect_leaks=0';
    my $said = qx('@{[ $u->nginx_bin ]}' -t -p '$u->{dir}' \\
        -e '$u->{dir}/log/check.log' -c '$u->{dir}/conf/nginx.conf' 2>&1);
    unlink "$u->{dir}/log/check.log";
    like $said, $why, "refused: $why";
}
$u->write_file($u->dir . '/bad.conf', row('a', "groups = x,,y\n"));
my ($rc, undef, $err) = $u->run({ env => { TRIFECTA_MODELS => $u->dir
    . '/bad.conf' } }, 'models');
isnt $rc, 0, 'a file with a group without a name';
like $err, qr/\[a\]: groups must be names/, 'is refused by name';

$server->stop;
$u->finish;
done_testing;
