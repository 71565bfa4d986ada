# The checker of the fault suite sees what is wrong: each promise is broken in
# a forged history or a forged store, and it must complain of that and of
# nothing else.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib", "$FindBin::Bin/fault/lib";
use Test::More;

use Trifecta::Fault::Check;
use Trifecta::Fault::Runner;

my $T = 100;
my $n = 0;

# An operation that took 0.01 s; the next one begins after it.

sub op {
    my ($kind, $ev, %o) = @_;
    $T += 0.02;
    return { op => ++$n, kind => $kind, ev => $ev, t0 => $T, t1 => $T + 0.01,
             user => 0, tenant => 'default', owner => 'alice', %o };
}

sub asked {
    my ($id, %o) = @_;
    return op('submit', 'ok', id => $id, status => 202, state => 'queued',
              canary => "c-$id", script => '', %o);
}

sub saw {
    my ($id, $state, %o) = @_;
    return op('poll', 'ok', id => $id, target => $id, status => 200,
        state => $state, $state eq 'succeeded'
            ? (response => "pid=7 attempt=1 c-$id") : (), %o);
}

sub gone {
    my ($id) = @_;
    return op('poll', 'ok', id => $id, target => $id, status => 410);
}

sub changed {
    my ($id, @v) = @_;
    my (%old, %new);
    @old{qw(state attempt lease)} = @v[0 .. 2];
    @new{qw(state attempt lease)} = @v[3 .. 5];
    return { id => $id, old => defined $v[0] ? \%old : undef, new => \%new };
}

# Three jobs and nothing wrong: a succeeds, b fails as it was told to, c was
# cancelled while it waited.

sub fine {
    my $seen = {
        ops => [
            asked('a', key => 'k1'), asked('a', key => 'k1', status => 200,
                state => 'queued', replayed => 1),
            asked('b', script => 'fail=1'), asked('c'),
            saw('a', 'running'), op('cancel', 'ok', id => 'c', target => 'c',
                status => 200, state => 'cancelled'),
            saw('a', 'succeeded'), saw('c', 'cancelled'), saw('a', 'succeeded'),
            op('submit', 'fail', canary => 'c-no', status => 503),
        ],
        final => {
            a => { status => 200, state => 'succeeded',
                   response => 'pid=7 attempt=1 c-a' },
            b => { status => 200, state => 'failed',
                   code => 'internal_error' },
            c => { status => 200, state => 'cancelled', code => 'cancelled' },
        },
        rows => {
            a => { state => 'succeeded', attempt => 1, query => 'say=c-a' },
            b => { state => 'failed', attempt => 1, query => 'say=c-b' },
            c => { state => 'cancelled', attempt => 0, query => 'say=c-c' },
        },
        results => [{ job => 'a', attempt => 1,
                      body => 'pid=7 attempt=1 c-a' }],
        audit => [
            changed('a', undef, undef, undef, 'queued', 0, '0.0'),
            changed('a', 'queued', 0, '0.0', 'running', 1, '1.1'),
            changed('a', 'running', 1, '1.1', 'succeeded', 1, '1.1'),
        ],
        trace => [{ t => $T - 0.06, pid => 7, attempt => 1, canary => 'c-a' },
                  { t => $T - 0.06, pid => 7, attempt => 1,
                    canary => 'c-b' }],
        hashes => { map { $_ => { crashes => 0, lost => 0, fails => 0 } }
                    qw(a b c) },
    };
    @{ $seen->{rows}{$_} }{qw(tenant owner)} = qw(default test:alice)
        for qw(a b c);
    return $seen;
}

# Breaks one thing and expects complaints of that promise only.

sub caught {
    my ($name, $inv, $break, %mode) = @_;
    my $seen = fine();
    local $Test::Builder::Level = $Test::Builder::Level + 1;

    $break->($seen);
    my ($wrong) = Trifecta::Fault::Check::check($seen, \%mode);
    my %inv = map { $_->{inv} => 1 } @$wrong;
    is(join(' ', sort keys %inv), $inv, $name)
        or diag map { "[$_->{inv}] $_->{what}\n" } @$wrong;
}

my ($wrong, $count) = Trifecta::Fault::Check::check(fine(), {
    executions => 1 });
is_deeply($wrong, [], 'of a round without fault there is nothing to say');
is_deeply($count, { jobs => 5, accepted => 3, unknown => 0, given_up => 0 },
    'and it counts');

# 1
caught('a job that does not end', '1', sub {
    $_[0]{final}{b} = { status => 200, state => 'running' };
    $_[0]{rows}{b}{state} = 'running' });
caught('a job that nobody can read', '1', sub {
    $_[0]{final}{b} = { status => 503 } });
caught('a job that was accepted and is lost', '1', sub {
    $_[0]{final}{b} = { status => 410 }; delete $_[0]{rows}{b} });
caught('unless the mode gives it up', '', sub {
    $_[0]{final}{b} = { status => 410 }; delete $_[0]{rows}{b} },
    gives_up => 1);
caught('but never one whose 202 said that it is durable', '1', sub {
    $_->{was_durable} = 1 for grep { ($_->{id} // '') eq 'b' } @{ $_[0]{ops} };
    $_[0]{final}{b} = { status => 410 }; delete $_[0]{rows}{b} },
    gives_up => 1);
caught('a deleted job is gone as it should', '', sub {
    push @{ $_[0]{ops} }, op('delete', 'ok', id => 'b', target => 'b',
                             status => 200), gone('b');
    $_[0]{final}{b} = { status => 410 }; $_[0]{rows}{b}{deleted} = 1 });
caught('an accepted job that is answered with 404', '1', sub {
    push @{ $_[0]{ops} }, op('poll', 'fail', id => 'b', status => 404) });
caught('a job that fails for no reason of its own', '1', sub {
    $_->{script} = '' for @{ $_[0]{ops} } });
caught('unless the cell says that it may', '', sub {
    $_->{script} = '' for @{ $_[0]{ops} };
    $_[0]{final}{b}{code} = 'deadline_exceeded' }, may_fail => qr/deadline/);
caught('a job that is cancelled and nobody did it', '1', sub {
    $_[0]{ops} = [grep { $_->{kind} ne 'cancel' } @{ $_[0]{ops} }] });
caught('a job that is dead', '1', sub {
    $_[0]{final}{b} = { status => 200, state => 'dead' };
    $_[0]{rows}{b}{state} = 'dead' });
caught('an accepted job that nobody asked for again', '1', sub {
    delete $_[0]{final}{b} });

# 2
caught('two results', '2', sub {
    push @{ $_[0]{results} }, { %{ $_[0]{results}[0] } } });
caught('a result of another attempt', '2', sub {
    $_[0]{rows}{a}{attempt} = 2 });
caught('a success without a result', '2', sub { $_[0]{results} = [] });
caught('a result without a success', '2', sub {
    push @{ $_[0]{results} }, { job => 'b', attempt => 1, body => 'x' } });
caught('a result without a row', '2', sub {
    push @{ $_[0]{results} }, { job => 'z', attempt => 1, body => 'x' } });

caught('but for one that retention has begun to remove', '', sub {
    push @{ $_[0]{results} }, { job => '0191c0de-0000-7000-8000-000000000001',
                                attempt => 1, body => 'x' } });
caught('or was about to when rows and results were read', '', sub {
    $_[0]{rows}{'0191c0de-0000-7000-8000-000000000001'} = {
        state => 'succeeded', attempt => 1, tenant => 't', owner => 'o' } });

# 3
caught('two ids for one key', '3', sub {
    $_[0]{ops}[1]{id} = 'a2';
    $_[0]{rows}{a2} = { %{ $_[0]{rows}{a} }, state => 'failed' };
    $_[0]{final}{a2} = { status => 200, state => 'failed', code => 'x' };
}, may_fail => qr/x/);
my $lost = sub {
    $_[0]{ops}[0]{id} = 'a0';
    push @{ $_[0]{ops} }, op('delete', 'ok', id => 'a0', target => 'a0',
                             status => 410);
    $_[0]{final}{a0} = { status => 410 } };
caught('unless the first was given up before it was deleted', '', $lost,
    gives_up => 1);
caught('but not if it was there to be deleted', '3', sub {
    $lost->(@_);
    $_[0]{rows}{a0} = { %{ $_[0]{rows}{c} }, query => 'say=c-a', deleted => 1 }
}, gives_up => 1);
caught('a second job of a key that nobody was told', '3', sub {
    $_[0]{rows}{a2} = { %{ $_[0]{rows}{a} }, state => 'failed' } });
caught('two jobs of one question without a key', '3', sub {
    $_[0]{rows}{b2} = { %{ $_[0]{rows}{b} } } });
caught('a job of a question that was refused', '3', sub {
    $_[0]{rows}{x} = { %{ $_[0]{rows}{b} }, query => 'say=c-no' } });
caught('a job of somebody else', '3', sub {
    $_[0]{rows}{b}{owner} = 'test:bob' });

# 4
caught('a client that sees another end later', '4', sub {
    push @{ $_[0]{ops} }, saw('c', 'failed') });
caught('a client that sees an ended job run', '4', sub {
    push @{ $_[0]{ops} }, saw('a', 'running') });
caught('but not one whose answer was overtaken', '', sub {
    push @{ $_[0]{ops} }, saw('a', 'running');
    $_[0]{ops}[-1]{t0} = 0 });
caught('a job that is gone and comes back', '4', sub {
    push @{ $_[0]{ops} }, gone('b'), saw('b', 'queued') });
caught('a GET that says other than the row', '4', sub {
    $_[0]{rows}{c}{state} = 'failed' });
caught('a row that ended twice', '4', sub {
    push @{ $_[0]{audit} }, changed('a', 'failed', 1, '1.1',
                                    'succeeded', 1, '1.1') });
caught('a row that began after its end', '4', sub {
    push @{ $_[0]{audit} }, changed('a', 'succeeded', 1, '1.1',
                                    'succeeded', 2, '1.2') });

# 5
caught('an attempt that goes back', '5', sub {
    push @{ $_[0]{audit} }, changed('b', 'running', 2, '1.2',
                                    'running', 1, '1.3') });
caught('an attempt that is given twice', '5', sub {
    push @{ $_[0]{audit} }, changed('b', 'running', 2, '1.2',
                                    'running', 2, '1.3') });
caught('an attempt that runs twice', '5', sub {
    push @{ $_[0]{trace} }, { %{ $_[0]{trace}[0] } } });
caught('a stored text of a fenced worker', '5', sub {
    $_[0]{results}[0]{body} = $_[0]{final}{a}{response} =
        'pid=7 attempt=2 c-a' });

# 6
caught('a success without the answer', '6', sub {
    push @{ $_[0]{ops} }, saw('a', 'succeeded', response => undef) });
caught('the answer to another question', '6', sub {
    push @{ $_[0]{ops} }, saw('a', 'succeeded',
                              response => 'pid=7 attempt=1 c-b') });
caught('a GET that answers another text than the stored', '6', sub {
    $_[0]{final}{a}{response} = 'pid=8 attempt=1 c-a' });

# 7, 8, 9
caught('what the sampler saw', '7,9', sub {
    $_[0]{sampled} = ['x is in run and dly'] });
caught('what an idle queue should not have', '8', sub {
    $_[0]{left} = ['P:live has members'] });
caught('a line that no log should have', 'log', sub {
    $_[0]{log} = ['error: [alert]'] });

# 10, 11
my $again = sub {
    push @{ $_[0]{trace} }, { t => $T + 9, pid => 8, attempt => 2,
                              canary => 'c-b' } };
caught('one execution more than there were reasons', '10', $again,
    executions => 1);
caught('but not after a crash', '', sub {
    $again->($_[0]); $_[0]{hashes}{b}{crashes} = 1 }, executions => 1);
caught('a takeover that comes late', '10', $again, reclaim => 5,
    killed => [{ pid => 7, t => $T + 1 }]);
caught('one that comes in time', '', $again, reclaim => 10,
    killed => [{ pid => 7, t => $T + 1 }]);
caught('a poison job that runs a fifth time', '11', sub {
    $_->{script} = 'kill=9 fail=1' for grep { ($_->{id} // '') eq 'b' }
        @{ $_[0]{ops} };
    $_[0]{hashes}{b}{crashes} = 4;
    push @{ $_[0]{trace} }, map { { t => $T + $_, pid => $_, attempt => $_,
                                    canary => 'c-b' } } 2 .. 5;
}, executions => 1);

# 12
caught('a cancelled job that runs', '12', sub {
    push @{ $_[0]{trace} }, { t => $T + 1, pid => 7, attempt => 1,
                              canary => 'c-c' } });
caught('one that ran before it was cancelled', '', sub {
    push @{ $_[0]{trace} }, { t => 1, pid => 7, attempt => 1,
                              canary => 'c-c' } });

# 13

sub said { [map { [split / /, $_, 4] } @_] }

my @first = ('1 1 s ', '1 2 d pid=7 ', '1 3 d attempt=1 ');
my @whole = (@first, '1 4 d c-a');

sub tells {
    my ($seen, $live, $stored) = @_;
    $seen->{said}{a} = { live => [map { said(@$_) } @$live],
                         stored => said(@{ $stored || \@whole }) };
}

caught('what was read while it ran is what is stored', '', sub {
    tells($_[0], [[], [$first[0]], \@first, \@whole]) });
caught('a piece that is not stored', '13', sub {
    tells($_[0], [[@first, '1 4 d c-x']]) });
caught('one more than are stored', '13', sub {
    tells($_[0], [[@whole, '1 5 d more']]) });
caught('a piece that was left out', '13', sub {
    tells($_[0], [[@first[0, 2]]]) });
caught('a piece that came twice', '13', sub {
    tells($_[0], [[@first, $first[2]]]) });
caught('pieces that are not the answer', '13', sub {
    tells($_[0], [[@first]], [@first, '1 4 d c-x']) });
caught('a piece of an attempt after the end', '13', sub {
    tells($_[0], [[@first, '2 1 d late']]) });
caught('what an earlier attempt said after the next has begun', '13', sub {
    $_[0]{rows}{a}{attempt} = $_[0]{results}[0]{attempt} = 2;
    for my $r (@{ $_[0]{ops} }, values %{ $_[0]{final} }, $_[0]{results}[0]) {
        s/attempt=1/attempt=2/ for grep { defined } @$r{qw(response body)};
    }
    tells($_[0], [[@first, '1 4 d zombie']],
          [@first, '2 1 d pid=7 attempt=2 c-a']) });
sub follows {
    my ($end, @events) = @_;
    return op('follow', 'ok', id => 'a', target => 'a', status => 200,
        events => said(@events), end => $end,
        $end ? (state => 'succeeded',
                response => 'pid=7 attempt=1 c-a') : ());
}

caught('who follows a job reads its answer', '', sub {
    push @{ $_[0]{ops} }, follows('done', @whole) });
caught('a stream that ends without an end', '13', sub {
    push @{ $_[0]{ops} }, follows('', @first) });
caught('a stream that lacks a piece of the answer', '13', sub {
    push @{ $_[0]{ops} }, follows('done', @first) });
caught('a deleted job has said nothing', '', sub {
    $_[0]{rows}{a}{deleted} = 1;
    tells($_[0], [[@first]], []) });

# A round without its fault

my @rounds;
{
    no warnings 'redefine';
    sub Trifecta::Fault::Round::run { return shift @rounds }
}
sub round_of {
    @rounds = map { { violations => $_ } } @_;
    return scalar @{ Trifecta::Fault::Runner::_round()->{violations} };
}
my $unmet = { inv => 'round', what => "submit.sent was not met\n" };

is(round_of([$unmet], []), 0, 'a_round_whose_fault_did_not_come_is_run_again');
is(round_of([$unmet, { inv => '1', what => 'lost' }], []), 2,
   'but not one that broke a promise');
is(round_of([$unmet], [$unmet], [$unmet], []), 1, 'nor more than three times');

done_testing;
