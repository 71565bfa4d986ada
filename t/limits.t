# Limits by rate: the policies that Redis counts, over workers and servers,
# and the fence in front.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use POSIX ();
use Test::More;
use Time::HiRes qw(sleep time);

use Trifecta::Test;
use Trifecta::Test::Proc;

my $realip = "set_real_ip_from 127.0.0.1; real_ip_header X-Real-IP;\n";
my $t = Trifecta::Test->new(sidecars => 0, trifecta => {},
    server => 'trifecta_limit name=mine key=user rate=20r/h;');
my $slow = $t->slow;
my $P = '{trifecta:0}';
my $Q = '/api/v1/query';

sub says { "$_[0]{status} " . ($_[0]{code} // '') }
sub ask { my (%o) = @_; $t->post($Q, { query => 'x' }, %o) }
sub user { $t->token(sub => $_[0], $_[1] ? (tenant => $_[1]) : ()) }
sub ready { $t->wait_for(sub { $t->admin('/readyz')->{status} == 200 }, 20) }

# A server block with these lines; the old workers are gone afterwards.

sub server {
    my ($text) = @_;
    $t->{opt}{server} = $text;
    $t->write_conf;
    my @old = $t->reload;
    $t->wait_for(sub { !grep { kill 0, $_ } @old }, 10);
    ready() or die "not ready\n";
}

sub forget_limits {
    my @keys = @{ $t->redis('KEYS', "$P:lim:*") };
    $t->redis('DEL', @keys) if @keys;
}


# A second nginx with the same configuration on the same Redis

my ($port2, $second) = ($t->free_port);
{
    my $conf = $t->read_file("$t->{dir}/conf/nginx.conf");
    my $admin2 = $t->free_port;
    $conf =~ s/127\.0\.0\.1:$t->{port}\b/127.0.0.1:$port2/g;
    $conf =~ s/127\.0\.0\.1:$t->{admin_port}\b/127.0.0.1:$admin2/g;
    $conf =~ s{run/(?!nginx)}{run/second-}g;
    $conf =~ s/nginx\.pid/nginx2.pid/;
    $conf =~ s{log/(error|access)\.log}{log/${1}2.log}g;
    my $file = $t->write_file("$t->{dir}/conf/nginx2.conf", $conf, 0644);
    $second = Trifecta::Test::Proc->start(name => 'nginx2', death => 'TERM',
        log => "$t->{dir}/log/nginx2.log", env => {
            ASAN_OPTIONS => 'detect_leaks=0' },
        cmd => [$t->nginx_bin, '-p', $t->{dir}, '-e',
                "$t->{dir}/log/error2.log", '-c', $file, '-g',
                'daemon off;']);
    ok $t->wait_for(sub { $t->get('/readyz', token => undef,
        url => "http://127.0.0.1:$admin2/readyz")->{status} == 200 }, 20),
        'two servers with two workers each';
}

{
    my ($L, $n, $kids) = (20, 8, 8);
    my (@pids, @got);
    my $token = user('crowd');
    my $live = $t->redis('ZCARD', "$P:live");

    for my $k (1 .. $kids) {
        my $pid = fork // die "fork: $!";
        if ($pid == 0) {
            my $port = $k % 2 ? $t->{port} : $port2;
            $t->write_file("$t->{dir}/run/crowd.$k", join '', map {
                my $res = ask(token => $token,
                              url => "https://localhost:$port$Q");
                join(' ', $res->{status}, $res->{code} // '-',
                     map { ($res->{headers}{$_} // '') =~ tr/ //dr }
                         qw(ratelimit retry-after retry-after-ms)) . "\n";
            } 1 .. $n);
            POSIX::_exit(0);
        }
        push @pids, $pid;
    }
    waitpid $_, 0 for @pids;
    @got = map { split /\n/, $t->read_file("$t->{dir}/run/crowd.$_") }
           1 .. $kids;

    is scalar(@got), $n * $kids, 'all are answered';
    is scalar(grep { /^202 / } @got), $L,
        'n_parallel_questions_against_a_limit_of_l_admit_exactly_l';
    is scalar(grep { /^429 rate_limit_exceeded "mine";r=0;t=\d+ \d+ \d+$/ }
              @got), $n * $kids - $L, 'the others are 429'
        or diag explain \@got;
    is $t->redis('ZCARD', "$P:live") - $live, $L, 'and so many jobs';
    is_deeply [sort map { /r=(\d+)/ } grep { /^202/ } @got],
        [sort 0 .. $L - 1], 'each sees another number remaining';
}

$second->signal('QUIT');
ok $second->wait(20 * $slow), 'the second server leaves';


# What the answers say

{
    my $res = ask(token => user('headers'));
    my $h = $res->{headers};
    is $res->{status}, 202, 'one of twenty';
    is $h->{'ratelimit-policy'}, '"mine";q=20;w=3600', 'RateLimit-Policy';
    is $h->{ratelimit}, '"mine";r=19;t=180', 'RateLimit';
    is $h->{'x-ratelimit-limit-requests'}, 20, 'x-ratelimit-limit-requests';
    is $h->{'x-ratelimit-remaining-requests'}, 19,
        'x-ratelimit-remaining-requests';
    is $h->{'x-ratelimit-reset-requests'}, '3m0s',
        'x-ratelimit-reset-requests';

    my $before = $t->snapshot_of_queue;
    $res = ask(token => user('crowd'));
    $h = $res->{headers};
    is says($res), '429 rate_limit_exceeded', 'who has used it up';
    is $res->{json}{error}{type}, 'rate_limit_error', 'OpenAI type';
    like $res->{json}{detail}, qr/"mine".*20 requests.*user/,
        'detail_names_the_policy';
    is $h->{'ratelimit-policy'}, '"mine";q=20;w=3600', 'RateLimit-Policy';
    like $h->{ratelimit}, qr/^"mine";r=0;t=3[56]\d\d$/, 'RateLimit';
    cmp_ok $h->{'retry-after'}, '>', 60, 'Retry-After is when one fits in';
    cmp_ok $h->{'retry-after'}, '<=', 180, 'not when all do';
    is int(($h->{'retry-after-ms'} + 999) / 1000), $h->{'retry-after'},
        'retry-after-ms is the same';
    $t->nothing_enqueued($before, 'and nothing is enqueued');
    is $t->get("$Q/" . $t->ask('x'))->{headers}{ratelimit}, undef,
        'reading is not limited';
}


# What is not charged

{
    my $left = sub {
        $_[0]{headers}{'x-ratelimit-remaining-requests'} };
    my $token = user('frugal');
    my %key = (token => $token, headers => { 'Idempotency-Key' => 'k' });

    is $left->(ask(%key)), 19, 'one';
    is ask(%key)->{headers}{'idempotency-replayed'}, 'true', 'a replay';
    $t->post($Q, { query => '' }, token => $token);
    $t->post($Q, { query => 'y' }, %key);
    is $left->(ask(token => $token)), 18,
        'replays_conflicts_and_mistakes_are_not_charged';
}


# Several policies: all are checked before any is charged

server('trifecta_limit name=user key=user rate=3r/d;
        trifecta_limit name=tenant key=tenant rate=5r/d;
        trifecta_limit name=all key=route rate=7r/d;');
forget_limits();
{
    my $p = sub { my ($res) = @_;
        return { ($res->{headers}{ratelimit} // '') =~ /"(\w+)";r=(\d+)/g } };

    my $res = ask(token => user('a'));
    is $res->{headers}{'ratelimit-policy'}, '"user";q=3;w=86400,'
        . ' "tenant";q=5;w=86400, "all";q=7;w=86400', 'all policies are named';
    is_deeply $p->($res), { user => 2, tenant => 4, all => 6 },
        'each is charged';
    is $res->{headers}{'x-ratelimit-remaining-requests'}, 2,
        'x-ratelimit speaks for the one that is nearest';
    ask(token => user('a')) for 1, 2;

    for (1 .. 3) {
        $res = ask(token => user('a'));
        like $res->{json}{detail}, qr/"user"/, 'the user has used it up';
    }
    is_deeply $p->($res), { user => 0, tenant => 2, all => 4 },
        'what_one_policy_refuses_no_policy_is_charged_for';

    is_deeply $p->(ask(token => user('b'))),
        { user => 2, tenant => 1, all => 3 }, 'another_user_has_a_bucket';
    is ask(token => user('b'))->{status}, 202, 'and the last of the tenant';
    like ask(token => user('b'))->{json}{detail}, qr/"tenant".*tenant/,
        'users_share_that_of_their_tenant';
    is_deeply $p->(ask(token => user('b', 'acme'))),
        { user => 2, tenant => 4, all => 1 },
        'the_same_sub_in_another_tenant_is_another_user';
    ask(token => user('c', 'acme'));
    like ask(token => user('d', 'globex'))->{json}{detail},
        qr/"all".*route/, 'and_all_share_that_of_the_route';
}


# Refill, burst, levels

server('trifecta_limit name=quick key=user rate=2r/s;
        location /api/v1/query { trifecta api;
            trifecta_limit name=inner key=user rate=1r/h burst=4; }');
{
    my @got = map { ask() } 1 .. 5;
    is_deeply [map { $_->{status} } @got], [(202) x 4, 429],
        'burst_is_how_many_come_at_once';
    is $got[0]{headers}{'ratelimit-policy'}, '"inner";q=4;w=14400',
        'a_location_with_its_own_policies_does_not_inherit';
}

server('trifecta_limit name=inner key=user rate=2r/s;');
ok $t->wait_for(sub { ask()->{status} == 202 }, 10),
    'other numbers hold at once, also for who has used the old ones up';
{
    my ($start, $n, $res) = (time, 0);
    while (time - $start < 20) {
        $res = ask();
        last if $res->{status} == 429;
        $n++;
    }
    is says($res), '429 rate_limit_exceeded', 'two a second';
    sleep $res->{headers}{'retry-after-ms'} / 1000 + 0.01;
    is ask()->{status}, 202, 'after_retry_after_ms_it_is_accepted';
}


# Without Redis nothing is accepted, so nothing has to be counted

{
    $t->kill('redis');
    sleep 0.2;
    is says(ask()), '503 queue_unavailable',
        'redis_away_a_limited_question_is_503';
    $t->start('redis');
    ok ready(), 'Redis is back';
}


# A location that only proxies

my $up = $t->free_port;
$t->{opt}{http} = <<"END";
    server {
        listen 127.0.0.1:$up;
        location / { return 200 "\$request_method \$content_length\n"; }
    }
END

my $proxied = "trifecta_limit name=inherited key=user rate=100r/d;
        trifecta_auth on;
        location /quota/ {
            trifecta_limit name=quota key=user rate=3r/d;
            trifecta_limit name=place key=route rate=5r/d;
            proxy_pass http://127.0.0.1:$up; }
        location /open/ {
            trifecta_limit name=open key=user rate=1r/d;
            trifecta_limit_failure open;
            proxy_pass http://127.0.0.1:$up; }
        location /off/ {
            trifecta_limit off;
            proxy_pass http://127.0.0.1:$up; }
        location /inherits/ {
            proxy_pass http://127.0.0.1:$up; }
        location /redirects/ {
            root $t->{dir}/conf;
            try_files /nothing /inherits/there; }
        location /public/ {
            trifecta_auth off;
            proxy_pass http://127.0.0.1:$up; }
";
server($proxied);
{
    my @got = map { $t->get('/quota/x', token => user('p')) } 1 .. 4;
    is_deeply [map { $_->{status} } @got], [200, 200, 200, 429],
        'a_location_that_only_proxies_is_limited';
    is $got[0]{content}, "GET \n", 'by nginx in front of its upstream';
    is $got[1]{headers}{ratelimit} =~ s/t=\d+/t=/gr,
        '"quota";r=1;t=, "place";r=3;t=', 'RateLimit';
    is $got[3]{code}, 'rate_limit_exceeded', 'a problem';
    like $got[3]{json}{detail}, qr/"quota"/, 'that names the policy';
    is $t->get('/quota/x', token => $_)->{status}, 401, 'no token, no count'
        for undef, 'x.y.z';

    my $res = $t->post('/quota/x', 'z' x 300_000, token => user('q'));
    is $res->{content}, "POST 300000\n", 'a_body_goes_through_whole';
    is $t->post('/quota/x', 'z' x 300_000, token => user('q'))->{status},
        200, 'two';
    $res = $t->post('/quota/x', 'z' x 300_000, token => user('q'));
    is "$res->{status} $res->{code}", '429 rate_limit_exceeded',
        'and a body that is refused';
    like $res->{json}{detail}, qr/"place".*route/, 'the route is used up';

    ok !$t->get('/off/')->{headers}{ratelimit}, 'trifecta_limit off';
    ok !$t->get('/public/')->{headers}{ratelimit},
        'who is not known is not counted';
    like $t->get('/inherits/', token => user('r'))->{headers}{ratelimit},
        qr/"inherited";r=99;/, 'inherited policies hold';
    like $t->get('/redirects/x', token => user('r'))->{headers}{ratelimit},
        qr/^"inherited";r=98;t=\d+$/, 'an_internal_redirect_is_counted_once';
    like ask(token => user('r'))->{headers}{ratelimit},
        qr/"inherited";r=97;/, 'together with questions';

    my $curl = "curl -s --http2 --cacert $t->{ca} -o /dev/null -w"
        . " '%{http_code} %{http_version}'";
    my $auth = sub { "-H 'Authorization: Bearer " . user($_[0]) . "'" };
    is qx($curl @{[$auth->('h')]} @{[$t->url('/open/')]}), '200 2',
        'HTTP/2 is limited';
    my $with = '--data-binary @- ' . $auth->('h');
    is qx(head -c 300000 /dev/zero | $curl $with @{[$t->url('/open/')]}),
        '429 2',
        'in the same way, also with a body';

    is $t->get('/open/', token => user('o'))->{status}, 200, 'one';
    is $t->get('/open/', token => user('o'))->{status}, 429, 'one only';

    # while Redis owes the answers, clients go away

    my $get = "GET /inherits/ HTTP/1.1\r\nHost: localhost\r\n"
        . 'Authorization: Bearer ' . user('s') . "\r\n\r\n";
    my @pids = sort $t->workers;
    sleep 1.2;
    $t->freeze('redis');
    for (1 .. 10) {
        my $sock = $t->socket or next;
        print {$sock} $get;
        sleep 0.02;
        close $sock;
    }
    my $closed = $t->get('/quota/', token => user('t'));
    is says($closed), '503 queue_unavailable',
        'redis_frozen_limits_fail_closed';
    cmp_ok $closed->{time}, '<', 10 * $slow, 'in time';
    ok $closed->{headers}{'retry-after'}, 'with Retry-After';
    is $t->get('/open/', token => user('o'))->{status}, 200,
        'or_open_where_it_is_said';
    $t->thaw('redis');
    ok ready(), 'Redis is back';
    is_deeply [sort $t->workers], \@pids, 'the workers are the same';
    is $t->get('/open/', token => user('o'))->{status}, 429,
        'and it counts again';

    $t->kill('redis');
    sleep 0.2;
    is says($t->get('/quota/', token => user('t'))), '503 queue_unavailable',
        'redis_down_limits_fail_closed';
    is $t->get('/open/', token => user('o'))->{status}, 200, 'or open';
    is $t->get('/off/')->{status}, 200, 'or are none';
    is says(ask()), '503 queue_unavailable', 'a question is 503 in any case';
    $t->start('redis');
    ok ready(), 'Redis is back';
}
$t->{opt}{http} = '';


# The fence: by address, before the token

server($realip . 'trifecta_fence zone=front:1m key=address rate=5r/h;');

sub from { my ($ip, %o) = @_;
    return $t->get("$Q/x", %o, headers => { 'X-Real-IP' => $ip }) }

{
    my @got = map { from('192.0.2.1', token => 'nonsense') } 1 .. 8;
    is_deeply [map { $_->{status} } @got], [(401) x 5, (429) x 3],
        'beyond_the_fence_no_token_is_looked_at';
    is $got[7]{code}, 'rate_limit_exceeded', 'by its code';
    like $got[7]{json}{detail}, qr/"front".*5 requests a hour.*address/,
        'detail names the fence';
    cmp_ok $got[7]{headers}{'retry-after'}, '>', 600, 'Retry-After';
    cmp_ok $got[7]{headers}{'retry-after'}, '<=', 720, 'is when one fits in';
    is int(($got[7]{headers}{'retry-after-ms'} + 999) / 1000),
        $got[7]{headers}{'retry-after'}, 'retry-after-ms is the same';
    ok !exists $got[7]{headers}{'www-authenticate'}, 'it is no 401';

    is from('192.0.2.1')->{status}, 429, 'a good token does not help';
    is from('192.0.2.2')->{status}, 404, 'another_address_has_a_bucket';

    is_deeply [map { from("2001:db8:0:1::$_")->{status} } 1 .. 6],
        [(404) x 5, 429], 'a_64_of_ipv6_is_one_address';
    is from('2001:db8:0:2::1')->{status}, 404, 'the next is another';
    is from('::ffff:192.0.2.1')->{status}, 429,
        'an_ipv4_address_in_ipv6_is_the_same';

    my @old = $t->workers;
    server($t->{opt}{server});
    is scalar(grep { my $pid = $_; grep { $pid == $_ } $t->workers } @old), 0,
        'all workers are new';
    is from('192.0.2.1')->{status}, 429, 'the_fence_survives_a_reload';
    is from('2001:db8:0:1::99')->{status}, 429, 'for all';

    server($realip . 'trifecta_fence zone=front:1m key=address rate=10r/s;');
    ok $t->wait_for(sub { from('192.0.2.1')->{status} == 404 }, 5),
        'another_rate_holds_after_a_reload_also_for_old_buckets';
}


# Many addresses in a small zone

server($realip . 'trifecta_fence zone=small:32k key=address rate=1r/d;');
{
    my @got;
    for my $n (1 .. 600) {
        push @got, $t->get("$Q/x", keep_alive => 1, token => undef, headers =>
            { 'X-Real-IP' => '10.1.' . int($n / 250) . '.' . $n % 250 })
            ->{status};
    }
    is scalar(grep { $_ == 401 } @got), 600,
        'when_the_zone_is_full_the_oldest_goes';
    is $t->get("$Q/x", token => undef, headers =>
        { 'X-Real-IP' => '10.1.2.100' })->{status}, 429,
        'and_the_newest_stays';
    unlike $t->log_of('error'), qr/no memory/, 'without a complaint';
}


# By subject, after the token

server('trifecta_fence zone=who:1m key=subject rate=3r/d;');
{
    my $mallory = $t->token(sub => 'victim', -key => 'x' x 32);
    is $t->get("$Q/x", token => $mallory)->{status}, 401, 'a forged token'
        for 1 .. 5;
    is_deeply [map { $t->get("$Q/x", token => user('victim'))->{status} }
               1 .. 4], [404, 404, 404, 429],
        'only_a_verified_token_is_charged_to_its_subject';
    is $t->get("$Q/x", token => user('victim', 'acme'))->{status}, 404,
        'in_another_tenant_it_is_another_subject';
    is $t->get("$Q/x", token => user('other'))->{status}, 404,
        'another subject has a bucket';
    like $t->get("$Q/x", token => user('victim'))->{json}{detail},
        qr/"who".*subject/, 'detail says so';

    my @got = map { $t->post($Q, { query => 'x' }, token => user('poster')) }
              1 .. 4;
    is_deeply [map { $_->{status} } @got], [202, 202, 202, 429],
        'a POST with a body, too';
    ok $got[3]{headers}{'retry-after'}, 'with Retry-After';
    $t->kill('redis');
    is $t->get("$Q/x", token => user('victim'))->{status}, 429,
        'the_fence_needs_no_redis';
    $t->start('redis');
}


# Both, and any location

server("$realip trifecta_fence zone=a:1m key=address rate=6r/d;
        trifecta_fence zone=b:1m key=subject rate=4r/d;
        location /plain { trifecta_fence zone=a; trifecta_fence zone=b;
            trifecta_auth on; root $t->{dir}/conf;
            try_files /nothing \@fallback; }
        location \@fallback { trifecta_fence zone=a; trifecta_auth on;
            try_files /nothing =204; }
        location /open { trifecta_fence zone=a; root $t->{dir}/conf; }");
{
    my $get = sub { my ($path, $who, $ip) = @_;
        return $t->get($path, token => $who && user($who),
                       headers => { 'X-Real-IP' => $ip })->{status} };

    is_deeply [map { $get->('/plain', 'p', '192.0.2.9') } 1 .. 5],
        [(204) x 4, 429], 'any_location_can_have_a_fence';
    is $get->('/open', undef, '192.0.2.9'), 404,
        'an_internal_redirect_is_charged_once';
    is $get->('/open', undef, '192.0.2.9'), 429,
        'a_zone_is_shared_by_its_locations';
    is $get->('/plain', 'q', '192.0.2.9'), 429, 'the address is asked first';
    is $get->('/plain', 'q', '192.0.2.10'), 204, 'then the subject';
}


# Mistakes in the configuration

{
    my $check = sub {
        my ($text) = @_;
        local $t->{opt}{server} = $text;
        $t->write_conf;
        local $ENV{ASAN_OPTIONS} = 'detect_leaks=0';
        my $out = qx("${\$t->nginx_bin}" -t -p "$t->{dir}" \\
            -e "$t->{dir}/run/check" -c "$t->{dir}/conf/nginx.conf" 2>&1);
        return $? >> 8 ? $out : '';
    };

    for my $case (
        ['name=a key=user', qr/no "rate="/],
        ['key=user rate=1r/s', qr/no "name="/],
        ['name=a rate=1r/s', qr/needs "key=user"/],
        ['name=a key=nobody rate=1r/s', qr/needs "key=user"/],
        ['name=a"b key=user rate=1r/s', qr/invalid parameter|unexpected/],
        ['name=' . 'a' x 33 . ' key=user rate=1r/s', qr/invalid parameter/],
        map({ ["name=a key=user rate=$_", qr/invalid parameter "rate/] }
            qw(0r/s 1 r/s 1r/y 1r -1r/s 1000001r/s 1.5r/s 1/s)),
        ['name=a key=user rate=1r/s burst=0', qr/invalid parameter "burst/],
        ['name=a key=user rate=1r/d burst=400', qr/more than a year/],
        ['name=a key=user rate=1r/s nonsense', qr/invalid parameter "non/],
        ['name=a key=user rate=1r/s rate=2r/s', qr/invalid parameter "rate/],
        ['off nonsense', qr/invalid parameter "off/],
        ['off; trifecta_limit name=a key=user rate=1r/s', qr/stands beside/],
        ['name=a key=user rate=1r/s; trifecta_limit off', qr/stands beside/],
        ['name=a key=user rate=1r/s; trifecta_limit name=a key=tenant'
            . ' rate=1r/s', qr/same name/])
    {
        my ($args, $re) = @$case;
        like $check->("trifecta_limit $args;"), $re, "trifecta_limit $args";
    }
    like $check->(join "\n", map { "trifecta_limit name=p$_ key=user"
        . ' rate=1r/s;' } 1 .. 9), qr/eight/, 'a ninth policy';
    is $check->(join "\n", map { "trifecta_limit name=p$_ key=user"
        . ' rate=1r/s;' } 1 .. 8), '', 'eight are good';

    for my $case (
        ['zone=z:1m rate=1r/s', qr/needs "key=address"/],
        ['zone=z:1m key=address', qr/no "rate="/],
        ['zone=z key=address rate=1r/s', qr/no size/],
        ['zone=z', qr/not defined above/],
        ['key=address rate=1r/s', qr/no "zone="/],
        ['zone=z:1k key=address rate=1r/s', qr/too small/],
        ['zone=z:x key=address rate=1r/s', qr/invalid size/],
        ['zone=:1m key=address rate=1r/s', qr/invalid name/],
        ['zone=z:1m key=name rate=1r/s', qr/invalid parameter "key/],
        ['zone=z:1m key=address rate=1r/s; trifecta_fence zone=z:1m'
            . ' key=subject rate=1r/s', qr/defined above/],
        ['zone=z:1m key=address rate=1r/s; trifecta_fence zone=z',
            qr/is duplicate/],
        ['zone=trifecta_metrics:256k key=address rate=1r/s',
            qr/already declared for a different use|conflicts/])
    {
        my ($args, $re) = @$case;
        like $check->("trifecta_fence $args;"), $re, "trifecta_fence $args";
    }
    is $check->('trifecta_fence zone=z:1m key=address rate=1r/s burst=9;'),
        '', 'a good one';
}

$t->finish;
done_testing;
