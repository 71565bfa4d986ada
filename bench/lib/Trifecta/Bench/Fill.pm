package Trifecta::Bench::Fill;

# Many open jobs and results, as fast as the stores take them: jobs by the
# function that an edge calls, in one piece of so many commands while the
# answers to the piece before are read, so that Redis waits for its disk once
# for each; the ledger of a sidecar takes them to PostgreSQL meanwhile.

use strict;
use warnings;

use IO::Select;
use Time::HiRes qw(sleep time);

use Trifecta::Bench::Queues;

our $OWNER = 'test:alice';

my $P = '{trifecta:0}';
my $PIECE = 500;
my $LOOK = 20;              # pieces between two looks at the accept log
my $AHEAD = 50_000;         # of 100,000 entries that the accept log may have


# All fields are of the same length in each job, so that sprintf can do it.

sub template {
    my ($tenants) = @_;
    no warnings 'redundant';
    my %job = (tenant => $tenants ? 't%3$010d' : 'default', owner => $OWNER,
        id => '%1$08x-%2$04x-7000-8000-%3$012x', groups => '[]',
        scopes => '[]', kind => 'query', model => 'fast', prio => 1,
        payload => '{"query":"What is number %3$010d?"}', fp => 'f',
        request_id => 'growth', limit => 86_400_000, max => 10_000_000,
        tmax => 10_000_000);
    my @args = ('FCALL', 'trifecta_submit_v1', 1, $P,
                map { $_ => $job{$_} } sort keys %job);

    return '*' . @args . "\r\n" . join '', map {
        '$' . length(sprintf $_, 0, 0, 0) . "\r\n$_\r\n" } @args;
}


# As many open jobs and results as that; nobody reads these jobs' answers.

sub fill {
    my ($g, $size) = @_;
    my $t = $g->{t};
    my $redis = $t->redis_client(timeout => 60);
    my $want = $size - $redis->cmd('ZCARD', "$P:live");

    jobs($g, $redis, $want) if $want > 0;

    # the ledger is to be at rest while something is measured
    $t->wait_for(sub { $redis->cmd('XLEN', "$P:acc") == 0 }, 300)
        or die "the accept log stays\n";

    my $rows = $size - Trifecta::Bench::Queues::done($t);
    results($t, $rows) if $rows > 0;
    $t->dbh('admin')->do($_) for 'VACUUM ANALYZE', 'CHECKPOINT';
    $t->wait_for(sub { $redis->cmd('INFO', 'persistence')
        =~ /^aof_rewrite_in_progress:0/m }, 120)
        or die "Redis does not end writing its file anew\n";
}


sub jobs {
    my ($g, $redis, $want) = @_;
    my $template = template($g->{tenants});
    my $sock = $g->{t}->redis_client(timeout => 60)->{sock};
    my ($sent, $read) = (0, 0);

    while ($read < $want) {
        if ($sent < $want && $sent - $read <= $PIECE) {
            my $n = $want - $sent < $PIECE ? $want - $sent : $PIECE;
            my $at = int(time * 1000);
            my $out = join '', map { sprintf $template, $at >> 16,
                $at & 0xffff, ++$g->{next} } 1 .. $n;
            put($sock, $out);
            $sent += $n;
            next if $sent - $read <= $PIECE;
        }
        $read += accepted($sock, $sent - $read < $PIECE
                          ? $sent - $read : $PIECE);
        # there is room for all that is sent until the next look
        next if $read / $PIECE % $LOOK;
        sleep 0.05 while $redis->cmd('XLEN', "$P:acc") > $AHEAD;
    }
}


sub put {
    my ($sock, $out) = @_;
    local $SIG{PIPE} = 'IGNORE';

    while (length $out) {
        my $n = syswrite $sock, $out;
        die "Redis takes no jobs: $!\n" if !defined $n;
        substr $out, 0, $n, '';
    }
}


# The next n answers: arrays that begin with OK.

sub accepted {
    my ($sock, $n) = @_;
    my ($got, $seen) = ('', 0);

    while ($seen < $n) {
        IO::Select->new($sock)->can_read(60)
            or die "Redis does not answer to jobs\n";
        sysread $sock, $got, 1 << 20, length $got
            or die "Redis closed the connection\n";
        $got =~ /^(-.*)/m and die "the queue took no job: $1\n";

        # "*5", "$2", "OK", and four numbers
        while ($got =~ /\G\*5\r\n\$2\r\n(OK|..)\r\n(?:(?::|\$\d+\r\n)[^\r]*\r\n)
                        {4}/gcx)
        {
            die "the queue took no job: $1\n" if $1 ne 'OK';
            $seen++;
        }
        my $at = pos $got // 0;
        die 'the queue took no job: ' . join(' ', split /\r\n/,
            substr $got, $at, 30) . "\n" if length $got > $at + 200;
        substr $got, 0, $at, '';
    }

    return $seen;
}


# Without a trigger for each row, which would only find that its job is there.

sub results {
    my ($t, $n) = @_;
    my $dbh = $t->dbh('admin');
    my $some = 'SELECT id FROM made';

    $dbh->do($_) for 'SET session_replication_role = replica',
        'CREATE TEMPORARY TABLE made AS SELECT gen_random_uuid() AS id'
            . " FROM generate_series(1, $n)",
        "INSERT INTO trifecta.job (id, tenant, owner, kind, model, prio,
            state, attempt, accepted, finished, deadline) SELECT id,
            'default', '$OWNER', 'query', 'fast', 1, 'succeeded', 1, now(),
            now(), now() FROM made",
        "INSERT INTO trifecta.job_result (job, tenant, owner, attempt, body)
            SELECT id, 'default', '$OWNER', 1, repeat('answer ', 20)
            FROM made",
        'DROP TABLE made', 'RESET session_replication_role';
}

1;
