# A Redis that comes back with less than it had: what the mode may give up polls
# as 410, everything else comes back from PostgreSQL.

use strict;
use warnings;

my $FAST = { fsync => 'everysec',
             test => { sidecar => { durability => 'fast' } } };

# What is late, because PostgreSQL has no row of it yet, only Redis' disk has.

sub cut_while_late {
    my ($s) = @_;
    $s->kill('pg');
    $s->rest($s->rand(0.7, 1.3));
    $s->power_cut;
}

(
    {
        name => 'power-always-late', quick => 1,
        what => 'power cut of Redis with appendfsync always, while '
                . 'PostgreSQL is down',
        inject => \&cut_while_late,
    },
    {
        name => 'power-everysec-late', stack => $FAST, quick => 1,
        what => 'power cut of Redis with appendfsync everysec, while '
                . 'PostgreSQL is down',
        mode => { gives_up => 1 }, idle => 60,
        inject => \&cut_while_late,
    },
    {
        name => 'power-everysec', stack => $FAST, quick => 1,
        what => 'power cut of Redis with appendfsync everysec',
        mode => { gives_up => 1 }, idle => 60,
        inject => sub {
            my ($s) = @_;
            $s->power_cut;
            $s->rest($s->rand(0, 0.5));
        },
    },
    {
        name => 'flushall', quick => 1,
        what => 'FLUSHALL',
        mode => { gives_up => 1 }, idle => 60,
        inject => sub {
            my ($s) = @_;
            $s->{t}->redis('FLUSHALL');
            $s->rest($s->rand(0, 1));
        },
    },
    {
        name => 'flushall-no-sidecar',
        what => 'FLUSHALL while no sidecar runs',
        mode => { gives_up => 1 }, idle => 60,
        inject => sub {
            my ($s) = @_;
            $s->kill('sidecar', $_) for 0, 1;
            $s->rest(0.3);
            $s->{t}->redis('FLUSHALL');
            $s->rest($s->rand(0, 1));
        },
    },
    {
        name => 'redis-lost', quick => 1,
        what => 'kill -9 of Redis, and a new one that starts empty',
        mode => { gives_up => 1 }, idle => 60,
        inject => sub {
            my ($s) = @_;
            $s->kill('redis');
            File::Path::remove_tree("$s->{t}{dir}/redis", { keep_root => 1 });
            $s->rest($s->rand(0, 0.5));
        },
    },
);
