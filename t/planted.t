# Would these tests see memory errors?  The same few requests go to a
# sanitized pair (and pass) and to pairs in one program of which an overrun
# is planted (t/planted/): those must fail, and say why.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use Trifecta::Test;

my $build = Trifecta::Test->root . '/build';

if ($ENV{TF_PLANTED}) {
    my $t = Trifecta::Test->new;

    my $answer = eval { $t->ask_and_wait('say=hello', model => 'test',
                                         timeout => 5) } || {};
    is $answer->{status}, 'succeeded', 'a question is answered';
    $t->finish;

    done_testing;
    exit;
}

plan skip_all => 'without build/planted (make asan planted)'
    unless -x "$build/planted/nginx" && -x "$build/planted/trifecta";


sub run {
    my ($trifecta, $nginx) = @_;

    local $ENV{TF_PLANTED} = 1;
    local $ENV{TRIFECTA_BIN} = "$build/$trifecta/trifecta";
    local $ENV{TRIFECTA_NGINX} = "$build/$nginx/nginx";
    delete local @ENV{qw(HARNESS_ACTIVE HARNESS_VERSION TRIFECTA_TEST_KEEP
                        TRIFECTA_TEST_NGINX_NOTE)};

    # what it keeps for whoever looks into a failure goes with this
    my $tmp = File::Temp->newdir('trifecta-p.XXXXXX', TMPDIR => 1);
    chmod 0711, "$tmp";
    local $ENV{TMPDIR} = "$tmp";

    my $out = qx("$^X" "$0" 2>&1);
    return ($? >> 8, $out);
}


my ($status, $out) = run('asan', 'asan');
is $status, 0, 'the sanitized pair passes' or diag $out;
unlike $out, qr/^not ok/m, 'with no failed assertion';

for my $plant (['planted', 'asan', 'sidecar'], ['asan', 'planted', 'module']) {
    my ($trifecta, $nginx, $what) = @$plant;

    ($status, $out) = run($trifecta, $nginx);
    isnt $status, 0, "an overrun in the $what turns the run red";
    like $out, qr/^not ok \d+ - no sanitizer line/m, 'at the right assertion'
        or diag $out;
    like $out, qr/heap-buffer-overflow|UndefinedBehaviorSanitizer/,
        'and it is named';
}

done_testing;
