# What is full: the memory of Redis, and disks (small file systems of the
# stack's own, which need root).

use strict;
use warnings;

(
    {
        name => 'maxmemory', quick => 1,
        what => 'Redis reaches maxmemory, and gets more after a while',
        inject => sub {
            my ($s) = @_;
            my $t = $s->{t};
            $t->redis('CONFIG', 'SET', 'maxmemory', 1);
            $s->rest($s->rand(1, 2));
            $t->redis('CONFIG', 'SET', 'maxmemory', '256mb');
        },
        mode => { executions => 1 },
    },
    {
        name => 'maxmemory-kill',
        what => 'the same, and both sidecars are killed meanwhile',
        inject => sub {
            my ($s) = @_;
            my $t = $s->{t};
            $t->redis('CONFIG', 'SET', 'maxmemory', 1);
            $s->kill('sidecar', $_) for 0, 1;
            $s->start('sidecar', $_) for 0, 1;
            $s->rest($s->rand(2, 3));
            $t->redis('CONFIG', 'SET', 'maxmemory', '256mb');
        },
    },
    {
        name => 'full-redis', quick => 1, stack => { tmpfs => [redis => '24m'] },
        what => 'the disk of the append-only file is full',
        # a Redis with appendfsync always ends itself then
        inject => sub {
            my ($s) = @_;
            $s->{mine}{redis} = 1;
            $s->fill('redis');
            $s->rest($s->rand(1, 2));
        },
    },
    {
        name => 'full-pg', quick => 1, stack => { tmpfs => [pg => '400m'] },
        what => 'the disk of PostgreSQL is full',
        inject => sub {
            my ($s) = @_;
            $s->{mine}{pg} = 1;
            $s->fill('pg');
            $s->rest($s->rand(1.5, 2.5));
        },
        log => [qr/No space left on device/],
    },
    {
        name => 'full-log', quick => 1, stack => { tmpfs => [log => '24m'] },
        what => 'the disk of all logs is full',
        inject => sub {
            my ($s) = @_;
            $s->fill('log');
            $s->rest($s->rand(1, 2));
        },
        log => [qr{write\(\) to "/}, qr/write\(\) .* was incomplete/],
    },
    {
        name => 'full-body', quick => 1,
        stack => { tmpfs => [body => '1m'], test => {
            http => 'client_body_in_file_only clean;' } },
        what => 'the disk for the bodies of requests is full',
        inject => sub {
            my ($s) = @_;
            $s->fill('body');
            $s->rest($s->rand(1, 2));
        },
        log => [qr/No space left on device/],
    },
);
