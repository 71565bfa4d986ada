package Trifecta::Bench::Case::Growth;

# What a step costs when there is much of everything: so many open jobs, of
# one tenant and of as many tenants, so many results, so many chunks.  The
# queue is filled by the function that an edge calls, results by one INSERT;
# the steps are measured over HTTP and with a real sidecar.
#
# The sidecar that is there all the time keeps one job of a model that does
# not answer, and so only takes the accept log to PostgreSQL.  Another one
# claims when that is to be measured.

use strict;
use warnings;

use Time::HiRes qw(sleep time);

use Trifecta::Bench::Cost;
use Trifecta::Bench::Load qw(load);
use Trifecta::Bench::Program;
use Trifecta::Bench::Queues;
use Trifecta::Bench::Stack;
use Trifecta::Bench::Stats qw(figure);

my $P = '{trifecta:0}';
my $AHEAD = 50_000;         # of 100,000 entries that the accept log may have
my $OWNER = 'test:alice';


sub what { 'each step with a thousand to a million jobs, tenants, results' }


sub program {
    my ($env) = @_;
    my @sizes = $env->{quick} ? (100, 1000) : (1000, 10_000, 100_000,
        $env->{large} ? 1_000_000 : ());
    my %row;

    for my $tenants (0, 1) {
        my $t = Trifecta::Bench::Stack::stack($env->{root},
            redis_conf => 'maxmemory 8gb', sidecar => { threads => 1 },
            mock => { fast => [0, 4, 0], never => [3_600_000, 1, 0] });
        my $g = { env => $env, t => $t, tenants => $tenants, next => 0,
                  header => Trifecta::Bench::Stack::header_of($t, 'HS256') };
        submit($g, 1, 'never');

        for my $size (@sizes) {
            print STDERR "growth: $size\n" if -t STDERR;
            fill($g, $size);
            my %got = steps($g);
            push @{ $row{$_} }, $got{$_} for keys %got;
        }
        undef $g;
    }

    search($env, \%row, @sizes) unless $env->{quick};
    return table(\%row, @sizes);
}


# A load over HTTP, and what it cost.

sub http {
    my ($g, $n, %how) = @_;
    my $path = delete $how{path} // '/api/v1/query';
    my $cost = Trifecta::Bench::Cost->new(
        Trifecta::Bench::Stack::groups($g->{t}, qw(nginx redis pg)));
    my $before = $cost->cpu;
    my $load = load($g->{t}{plain}, $path, connections => 8, seconds => 60,
        requests => $n, %how, header => ['Content-Type: application/json',
                                         $g->{header}]);
    my $after = $cost->cpu;

    return ('p50 µs' => $load->{latency}{p50},
        map { ("µs $_" => ($after->{$_} - $before->{$_}) / $n) } keys %$after);
}


sub submit {
    my ($g, $n, $model) = @_;
    my $keep = "$g->{t}{dir}/run/kept";
    my %got = http($g, $n, method => 'POST', status => 202, keep => $keep,
        body => '{"query": "What is number @@?", "model": "' . $model . '"}');

    return (\%got, $g->{t}->read_file($keep) =~ /"query_id":"([^"]+)"/g);
}


# As many open jobs and results as that; nobody reads these jobs' answers.

sub fill {
    my ($g, $size) = @_;
    my $t = $g->{t};
    my $redis = $t->redis_client(timeout => 60);
    my $open = $redis->cmd('ZCARD', "$P:live");
    my $sent = 0;

    while ($open < $size) {
        for (1 .. 500) {
            last if $open++ >= $size;
            my $n = ++$g->{next};
            my $at = int(time * 1000);
            my %job = (id => sprintf('%08x-%04x-7000-8000-%012x', $at >> 16,
                    $at & 0xffff, $n),
                tenant => $g->{tenants} ? "t$n" : 'default',
                owner => $OWNER, groups => '[]', scopes => '[]',
                kind => 'query', model => 'fast', prio => 1,
                payload => '{"query":"What is number ' . $n . '?"}',
                request_id => 'growth', fp => 'f', limit => 86_400_000,
                max => 10_000_000, tmax => 10_000_000);
            $redis->send('FCALL', 'trifecta_submit_v1', 1, $P,
                         map { $_ => $job{$_} } sort keys %job);
            $sent++;
        }
        for (; $sent; $sent--) {
            my ($said, $error) = $redis->reply;
            die 'the queue took no job: ' . ($error // "@$said") . "\n"
                if $error || $said->[0] ne 'OK';
        }
        sleep 0.1 while $redis->cmd('XLEN', "$P:acc") > $AHEAD;
    }

    # the ledger is to be at rest while something is measured
    $t->wait_for(sub { $redis->cmd('XLEN', "$P:acc") == 0 }, 600)
        or die "the accept log stays\n";

    my $there = Trifecta::Bench::Queues::done($t);
    my $rows = $size - $there;
    results($t, $rows) if $rows > 0;
    $t->dbh('admin')->do('VACUUM ANALYZE');
}


sub results {
    my ($t, $n) = @_;
    my $id = 'gen_random_uuid()';

    $t->sql('admin', "WITH j AS (INSERT INTO trifecta.job (id, tenant, owner,
        kind, model, prio, state, attempt, accepted, finished, deadline)
        SELECT $id, 'default', ?, 'query', 'fast', 1, 'succeeded', 1, now(),
        now(), now() FROM generate_series(1, ?) RETURNING id)
        INSERT INTO trifecta.job_result (job, tenant, owner, attempt, body)
        SELECT id, 'default', ?, 1, repeat('answer ', 20) FROM j",
        $OWNER, $n, $OWNER);
}


# Every step at this size; the number of open jobs stays nearly the same.

sub steps {
    my ($g) = @_;
    my $t = $g->{t};
    my $n = $g->{env}{quick} ? 50 : 500;
    my $of = $g->{tenants} ? 'tenants' : 'jobs';
    my ($submit, @ids) = submit($g, $n, 'fast');
    my %got = map { ("$of: submit, $_" => $submit->{$_}) } keys %$submit;

    if (!$g->{tenants}) {
        my $paths = $t->write_file("$t->{dir}/run/paths", join '',
            map { "/api/v1/query/$_/cancel\n" } @ids);
        my %cancel = http($g, $n, paths => $paths, method => 'POST',
                          path => '/');
        $got{"$of: cancel, $_"} = $cancel{$_} for keys %cancel;
    }

    my %claim = claim($g, $n);
    $got{"$of: claim and complete, $_"} = $claim{$_} for keys %claim;
    return %got if $g->{tenants};

    # those that were cancelled have a row in PostgreSQL, as all results
    my $paths = $t->write_file("$t->{dir}/run/paths", join '',
        map { "/api/v1/query/$_\n" } @ids);
    my %result = http($g, $n, paths => $paths, path => '/');
    $got{"results: read, $_"} = $result{$_} for keys %result;

    return %got;
}


# A second sidecar takes jobs until so many more are done.

sub claim {
    my ($g, $n) = @_;
    my $t = $g->{t};
    my $redis = $t->redis_client(timeout => 60);
    my $live = sub { $redis->cmd('ZCARD', "$P:live") };

    $t->{opt}{sidecar} = { %{ $t->{shipped} }, threads => 32 };
    $t->write_conf;
    my ($before, $start) = ($live->(), time);
    my $cost = Trifecta::Bench::Cost->new(
        Trifecta::Bench::Stack::groups($t, qw(redis pg)));
    my $us = $cost->cpu;
    $t->start('sidecar', 1);
    until ($before - $live->() >= $n) {
        die "$n jobs were not done in a minute\n" if time - $start > 60;
        sleep 0.01;
    }
    my $after = $cost->cpu;
    my $done = $before - $live->();
    $t->stop('sidecar', 1);
    # what the other one keeps belongs to it
    $t->{opt}{sidecar} = { %{ $t->{shipped} } };

    return map { ("µs $_" => ($after->{$_} - $us->{$_}) / $done) } keys %$after;
}


# bench/index at each size that it is made for.

sub search {
    my ($env, $row, @sizes) = @_;

    for my $size (grep { $_ <= 100_000 } @sizes) {
        my $out = Trifecta::Bench::Program::output($env, 'index', $size, 50, 1);
        for my $who ('PostgreSQL', 'the index') {
            my ($p50) = $out =~ /^\Q$who\E\s+([\d.]+)/m;
            push @{ $row->{"chunks: search by $who, p50 ms"} }, $p50;
        }
    }
}


sub table {
    my ($row, @sizes) = @_;
    my $text = "### growth\n\n| | " . join(' | ', @sizes)
        . " | last against first |\n|---|" . '---:|' x (@sizes + 1) . "\n";

    for my $name (sort keys %$row) {
        my @values = @{ $row->{$name} };
        my $ratio = $values[0] ? $values[-1] / $values[0] : undef;
        $text .= "| $name | " . join(' | ', map({ figure($_) }
            map { $values[$_] } 0 .. $#sizes), figure($ratio)) . " |\n";
    }

    return "$text\n";
}

1;
