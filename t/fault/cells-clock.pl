# Clocks that are set while everything runs: forward, back and by a day, each
# program's own.  Monotonic time goes on as it was.

use strict;
use warnings;

my $STACK = { clocks => 1 };

# A job's hard deadline is a time of Redis: a clock of Redis that goes forward
# by more than the limit ends what is open, as it is written.  An
# Idempotency-Key is remembered for 24 hours of Redis' clock, so the day is an
# hour short of one.
my %MODE = (redis => { may_fail => qr/^deadline_exceeded$/ });

my %WHOSE = (redis => 'Redis', pg => 'PostgreSQL', nginx => 'nginx',
             sidecar => 'the sidecars');

# [name, what, s, later s]: set, and set back or not
my @jumps = (
    [forward => 'an hour forward, then right again', 3600],
    [back => 'an hour back, then right again', -3600],
    [day => '23 hours forward, then right again', 82800],
    ['day-back' => '23 hours back, then right again', -82800],
);

my %quick = map { $_ => 1 } qw(redis-forward redis-back nginx-day
                               sidecar-back pg-back pg-day sidecar-forward);
my @cells;

for my $whose (qw(redis pg nginx sidecar)) {
    for my $jump (@jumps) {
        my ($name, $what, $by) = @$jump;

        push @cells, {
            name => "clock-$whose-$name", stack => $STACK,
            what => "the clock of $WHOSE{$whose} is set $what",
            quick => $quick{"$whose-$name"},
            mode => $MODE{$whose},
            inject => sub {
                my ($s) = @_;
                $s->clock($whose, $by);
                $s->rest(2.5);
            },
        };
    }
}

push @cells, {
    name => 'clock-all', stack => $STACK, mode => $MODE{redis},
    what => 'all clocks are set to different times',
    inject => sub {
        my ($s) = @_;
        $s->clock($_, int $s->rand(-7200, 7200)) for keys %WHOSE;
        $s->rest(2.5);
        $s->clock($_, int $s->rand(-7200, 7200)) for keys %WHOSE;
        $s->rest(2.5);
    },
}, {
    name => 'clock-off-kill', stack => $STACK, mode => $MODE{redis}, quick => 1,
    what => 'all clocks are an hour off, and both sidecars are killed',
    inject => sub {
        my ($s) = @_;
        my $sign = $s->rand(0, 1) < 0.5 ? -1 : 1;
        $s->clock($_, $sign * 3600) for keys %WHOSE;
        $s->rest(1.5);
        $s->kill('sidecar', $_) for 0, 1;
        $s->start('sidecar', $_) for 0, 1;
        $s->rest(1.5);
    },
};

@cells;
