package Trifecta::Bench::Deadline;

# A piece of work that may take so long and no longer:
#
#   within(60, sub { ... });    dies of what it died of, or of the deadline
#
# What it waits for outside of this process says child($pid): that is ended
# with it, because who waits for it would wait on.  Work that catches what it
# dies of (a loop around eval, say) dies again every few seconds.

use strict;
use warnings;

use Exporter qw(import);

our @EXPORT_OK = qw(within child);

my $AGAIN = 3;              # seconds
my %children;


sub child {
    my ($pid) = @_;
    $children{$pid} = 1;
    return $pid;
}


sub within {
    my ($seconds, $code) = @_;
    my $signal = 'TERM';
    my ($got, $error, $late);

    %children = ();
    {
        local $SIG{ALRM} = sub {
            kill $signal, keys %children;
            $signal = 'KILL';
            $late = 1;
            alarm $AGAIN;
            die "it did not end within $seconds seconds\n";
        };
        # rounded up: 0 would be no alarm at all
        alarm int($seconds + 0.999);
        $got = eval { $code->() };
        $error = $@;
        alarm 0;
    }

    die "it did not end within $seconds seconds\n" if $late;
    die $error if $error;
    return $got;
}

1;
