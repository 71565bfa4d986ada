package Trifecta::Test::Stacks;

# Several stacks at a time, each in a process of its own:
#
#   Trifecta::Test::Stacks::run(TF_SHARE => 'a b', 'c d');
#
# runs this test once more for each value, with that value in the environment,
# all of them at once.  What they assert is asserted here again, and one thing
# more of each: that it came to its end.

use strict;
use warnings;

use Test::More ();


sub run {
    my ($name, @values) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my @runs;

    for my $value (@values) {
        local $ENV{$name} = $value;
        delete local @ENV{qw(HARNESS_ACTIVE HARNESS_VERSION)};
        open my $fh, '-|', "exec '$^X' '$0' 2>&1" or die "$0: $!\n";
        push @runs, $fh;
    }

    for my $n (0 .. $#runs) {
        my $fh = $runs[$n];
        my $said = 0;

        while (<$fh>) {
            if (/^(ok|not ok) \d+ - (.*)/) {
                Test::More::ok($1 eq 'ok', $2);
                $said++;
            } elsif (/^#\s?(.*)/) {
                Test::More::diag($1);
            } elsif (!/^1\.\.\d+$/) {
                chomp;
                Test::More::diag($_);
            }
        }

        Test::More::ok(close($fh) && $said, "$name $n comes to its end");
    }
}

1;
