# The models, as a client that knows OpenAI's API lists them.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;

use Trifecta::Test;

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
done_testing;
