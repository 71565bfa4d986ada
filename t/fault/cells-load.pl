# Nothing that breaks by itself: clients that race and leave, deploys, reloads,
# jobs that kill whatever runs them.

use strict;
use warnings;

(
    {
        name => 'duplicates', quick => 1,
        what => 'every question is sent several times with its key, at once '
                . 'and again',
        inject => sub { $_[0]->rest(1.5) },
        load => { key => 1, twin => 0.8, again => 0.6, other => 0.2,
                  clients => 16 },
        mode => { executions => 1 },
    },
    {
        name => 'duplicates-kill', quick => 1,
        what => 'the same, while Redis and nginx are killed',
        inject => sub {
            my ($s) = @_;
            $s->kill('redis');
            $s->rest($s->rand(0, 0.5));
            $s->start('redis');
            $s->rest(0.5);
            $s->kill('nginx');
        },
        load => { key => 1, twin => 0.8, again => 0.6, other => 0.2,
                  clients => 16 },
    },
    {
        name => 'cancels', quick => 1,
        what => 'cancels and deletes of jobs that begin, run and end',
        inject => sub { $_[0]->rest(1.5) },
        load => { cancel => 40, delete => 20, poll => 20, wait => 20,
                  clients => 16, slow => 0.5 },
        mode => { executions => 1 },
    },
    {
        name => 'cancels-kill',
        what => 'the same, while both sidecars are killed',
        inject => sub {
            my ($s) = @_;
            $s->kill('sidecar', $_) for 0, 1;
            $s->start('sidecar', $_) for 0, 1;
            $s->rest(0.5);
        },
        load => { cancel => 40, delete => 20, poll => 20, wait => 20,
                  clients => 16, slow => 0.5 },
    },
    {
        name => 'leavers', quick => 1,
        what => 'clients that leave in the middle of what they ask',
        inject => sub { $_[0]->rest(1.5) },
        load => { key => 0.2, leave => 0.7, clients => 16 },
        mode => { executions => 1 },
    },
    {
        name => 'drain', quick => 1,
        what => 'deploys: each sidecar is drained and started again in turn, '
                . 'twice',
        inject => sub {
            my ($s) = @_;
            for my $n (0, 1, 0, 1) {
                my $status = $s->stop('sidecar', $n);
                die "a drained sidecar ended with $status\n" if $status;
                $s->start('sidecar', $n);
            }
        },
        check => sub {
            my ($s, $seen) = @_;
            return map { "$_: a drain counted as a crash or lost lease" }
                   grep { my $h = $seen->{hashes}{$_};
                          ($h->{crashes} // 0) + ($h->{lost} // 0) > 0 }
                   sort keys %{ $seen->{hashes} };
        },
    },
    {
        name => 'drain-both',
        what => 'both sidecars are drained at once and started again',
        inject => sub {
            my ($s) = @_;
            $s->{t}->proc('sidecar', 1)->signal('TERM');
            $s->stop('sidecar', $_) for 0, 1;
            $s->rest($s->rand(0, 1));
        },
    },
    {
        name => 'reloads', quick => 1,
        what => 'nginx is reloaded again and again',
        inject => sub {
            my ($s) = @_;
            for (1 .. 8) {
                $s->{t}->proc('nginx')->signal('HUP');
                $s->rest($s->rand(0.1, 0.5));
            }
        },
        mode => { executions => 1 },
    },
    {
        name => 'poison', quick => 1, supervised => 1,
        what => 'some jobs kill the sidecar that runs them; the sidecars are '
                . 'started again each time',
        before => 0.6,
        inject => sub { $_[0]->rest(1) },
        load => { clients => 6, submit => 20, cancel => 0, delete => 0,
                  script => do {
                      my $n = 0;
                      sub { $n++ % 40 == 20 && $n < 90 ? 'kill=99' : '' } } },
        mode => { may_die => 1, executions => 1 },
        # four crashes of a lease each, for each of them
        idle => 90,
        check => sub {
            my ($s, $seen) = @_;
            my %poison = map { $_->{canary} => 1 } grep {
                ($_->{script} // '') =~ /kill/ } @{ $seen->{ops} };
            return map { "$_ is dead and is no poison job" } grep {
                my $row = $seen->{rows}{$_};
                my ($canary) = ($row->{query} // '') =~ /say=(\S+)/;
                $row->{state} eq 'dead' && !$poison{$canary // ''}
                    && ($seen->{hashes}{$_}{crashes} // 0) <= 3 }
                sort keys %{ $seen->{rows} };
        },
    },
);
