package Trifecta::Fault::Load;

# Clients that ask, read, wait, cancel, delete, ask again and leave, over HTTP
# to a real nginx, and a history of what they saw.
#
#   my $load = Trifecta::Fault::Load->start(port => $port, seed => 1,
#       file => $history, tag => 'r1', users => [{ tenant, owner, token }...],
#       %mix);
#   ... let it run ...
#   $load->stop;                        # waits for the answers that are due
#   my $ops = Trifecta::Fault::Load::history($history);
#
# The clients are one process of its own, one connection each.  The history is
# a file of JSON lines, two for an operation:
#
#   { op, ev => 'invoke', t, client, kind, user, tenant, owner, ... }
#   { op, ev => 'ok' | 'fail' | 'unknown', t, status, id, state, ... }
#
# ok: done, as the answer says.  fail: certainly not done.  unknown: nobody
# can say (no answer, 504).  t is monotonic, in seconds.  Kinds: submit, poll,
# wait, follow (the events of a job), cancel, delete.  Every job has a canary of its own, which its answer
# must contain; every submit of one Idempotency-Key has the same canary, but
# for those that use a key for another question (other => 1).

use strict;
use warnings;

use IO::Select;
use IO::Socket::INET;
use JSON::XS ();
use POSIX ();
use Time::HiRes qw(sleep clock_gettime CLOCK_MONOTONIC);

my $json = JSON::XS->new->utf8->canonical;

# Weights of what a client does next, and shares of what a submit is like.
# A cell changes them by name.

our %MIX = (
    clients => 12,
    think => 0.06,          # s between two operations, on average
    timeout => 12,          # s until a client gives an answer up
    submit => 45, poll => 28, wait => 10, follow => 6, cancel => 8, delete => 4,
    leave => 0.04,          # of submits: the client leaves
    key => 0.5,             # have an Idempotency-Key
    twin => 0.2,            # of these: sent twice at once
    again => 0.15,          # of these: sent again when it was answered
    other => 0.04,          # of these: used for another question, too
    durable => 0.15,        # Prefer: durable
    prefer_wait => 0.05,    # Prefer: wait=1
    slow => 0.2, says => 0.12, long => 0.04, fail => 0.03, flaky => 0.03,
    script => undef,        # sub (rand) of a job, instead of those shares
);


sub now { clock_gettime(CLOCK_MONOTONIC) }


sub start {
    my ($class, %opt) = @_;
    my $self = bless { %MIX, %opt, parent => $$ }, $class;

    # the child ends when the pipe does, so also with its parent
    pipe my $read, my $write or die "pipe: $!\n";
    $self->{pid} = fork // die "fork: $!\n";

    if ($self->{pid} == 0) {
        close $write;
        $SIG{$_} = 'DEFAULT' for qw(INT TERM HUP);
        $SIG{PIPE} = 'IGNORE';
        $self->{pipe} = $read;
        eval { $self->_run; 1 } or do {
            print STDERR "load: $@";
            POSIX::_exit(1);
        };
        POSIX::_exit(0);
    }

    close $read;
    $self->{write} = $write;

    return $self;
}


sub stop {
    my ($self) = @_;

    close delete $self->{write};
    waitpid $self->{pid}, 0;
    delete $self->{pid};
    die "the load generator failed\n" if $?;
}


sub DESTROY {
    my ($self) = @_;
    local ($?, $@, $!);

    return if $self->{parent} != $$ || !$self->{pid};
    kill 'KILL', $self->{pid};
    waitpid $self->{pid}, 0;
}


# The operations of a file: invoke and end of each in one hash, t0 and t1
# being their times.  One without an end is unknown.

sub history {
    my ($file) = @_;
    my (%op, @ops);

    open my $fh, '<:raw', $file or die "$file: $!\n";

    while (<$fh>) {
        my $e = $json->decode($_);
        my $t = delete $e->{t};

        if ($e->{ev} eq 'invoke') {
            push @ops, $op{$e->{op}} = { %$e, ev => 'unknown', t0 => $t };
        } else {
            my $op = $op{$e->{op}};
            @$op{keys %$e, 't1'} = (values %$e, $t);
        }
    }

    return \@ops;
}


# From here on: the child.

sub _log {
    my ($self, %event) = @_;
    print { $self->{fh} } $json->encode({ t => 0 + sprintf('%.4f', now()),
                                          %event }), "\n";
}


sub _pick { $_[0][rand @{ $_[0] }] }


sub _run {
    my ($self) = @_;

    srand $self->{seed};
    open $self->{fh}, '>:raw', $self->{file} or die "$self->{file}: $!\n";
    $self->{fh}->autoflush(1);
    $self->{n} = $self->{jobs} = 0;
    $self->{todo} = [];
    $self->{known} = [map { [] } @{ $self->{users} }];
    $self->{client} = [map { { n => $_, user => $_ % @{ $self->{users} },
        at => now() + rand 0.1 } } 0 .. $self->{clients} - 1];

    my $stopping = 0;

    while (1) {
        my $now = now();
        my @busy = grep { $_->{op} } @{ $self->{client} };
        last if $stopping && !@busy;

        if (!$stopping) {
            for my $c (grep { !$_->{op} && $_->{at} <= $now }
                       @{ $self->{client} })
            {
                $self->_next($c);
            }
        }

        my %of = map { fileno($_->{sock}) => $_ } grep { $_->{sock} && $_->{op} }
                 @{ $self->{client} };
        my $set = IO::Select->new(map { $_->{sock} } values %of);
        $set->add($self->{pipe}) unless $stopping;

        # until an answer comes, or somebody has something to do
        my $rest = 0.1;
        for my $c (@{ $self->{client} }) {
            my $at = $c->{op} ? $c->{op}{until} : $c->{at};
            $rest = $at - $now if $at - $now < $rest && !($stopping && !$c->{op});
        }

        for my $fh ($set->can_read($rest > 0.001 ? $rest : 0.001)) {
            if ($fh == $self->{pipe}) {
                $stopping = 1;
                next;
            }
            $self->_read($of{fileno $fh});
        }

        for my $c (@busy) {
            $self->_end($c, 'unknown', why => 'timeout')
                if $c->{op} && now() > $c->{op}{until};
        }
    }

    close $self->{fh} or die "$self->{file}: $!\n";
}


# What a client does next: something that was put on the list for its user,
# or what the dice say.

sub _next {
    my ($self, $c) = @_;
    my $todo = $self->{todo};

    for my $i (0 .. $#$todo) {
        next if $todo->[$i]{user} != $c->{user} || $todo->[$i]{at} > now();
        my $job = splice @$todo, $i, 1;
        return $self->_submit($c, $job);
    }

    my @kinds = qw(submit poll wait follow cancel delete);
    my $sum = 0;
    $sum += $self->{$_} for @kinds;
    my $dice = rand $sum;
    my ($kind) = grep { ($dice -= $self->{$_}) < 0 } @kinds;

    my $known = $self->{known}[$c->{user}];
    $kind = 'submit' if !@$known;
    return $self->_submit($c, $self->_job($c->{user})) if $kind eq 'submit';

    # of the newest ones, mostly: there something may still happen
    my $id = @$known > 20 && rand() < 0.8 ? _pick([@$known[-20 .. -1]])
                                          : _pick($known);
    my $path = "/api/v1/query/$id";

    return $kind eq 'poll'   ? $self->_send($c, $kind, GET => $path,
                                            { target => $id })
         : $kind eq 'wait'   ? $self->_send($c, $kind, GET => $path,
                                            { target => $id },
                                            Prefer => 'wait=' . int(1 + rand 2))
         : $kind eq 'follow' ? $self->_send($c, $kind, GET => "$path/events",
                                            { target => $id })
         : $kind eq 'cancel' ? $self->_send($c, $kind, POST => "$path/cancel",
                                            { target => $id })
         :                     $self->_send($c, $kind, DELETE => $path,
                                            { target => $id });
}


sub _script {
    my ($self) = @_;

    return $self->{script}->() if $self->{script};

    my $dice = rand;

    for my $kind (['slow', sub { 'sleep=' . int(30 + rand 250) }],
                  ['says', sub { 'pieces=' . int(2 + rand 6) . ' every='
                      . int(10 + rand 80) . (rand() < 0.2 ? ' void=1' : '')
                      . (rand() < 0.2 ? ' flaky=1 at=2' : '') }],
                  ['long', sub { 'sleep=' . int(400 + rand 1200) }],
                  ['fail', sub { 'fail=1' }],
                  ['flaky', sub { 'flaky=1 after=' . int(rand 300) }])
    {
        return $kind->[1]->() if ($dice -= $self->{$kind->[0]}) < 0;
    }

    return '';
}


sub _job {
    my ($self, $user) = @_;
    my $n = ++$self->{jobs};
    my $canary = sprintf '%s-%d-%08x', $self->{tag}, $n, int rand 2**32;
    my $script = $self->_script;
    my %job = (user => $user, canary => $canary, script => $script, tries => 0,
               durable => rand() < $self->{durable} ? 1 : 0,
               waits => rand() < $self->{prefer_wait} ? 1 : 0);

    if (rand() < $self->{key}) {
        $job{key} = "key-$canary";

        if (rand() < $self->{twin}) {
            push @{ $self->{todo} }, { %job, at => 0 };
        }

        if (rand() < $self->{other}) {
            push @{ $self->{todo} }, { %job, at => now() + rand 0.2,
                other => 1, canary => "$canary-other" };
        }

    } elsif (rand() < $self->{leave}) {
        $job{leaves} = rand() < 0.5 ? 'early' : 'late';
    }

    return \%job;
}


sub _submit {
    my ($self, $c, $job) = @_;
    my $user = $self->{users}[$job->{user}];
    my $query = join ' ', grep { length } $job->{script}, "say=$job->{canary}";
    my @prefer = ($job->{durable} ? 'durable' : (),
                  $job->{waits} ? 'wait=1' : ());
    my %say = map { defined $job->{$_} ? ($_ => $job->{$_}) : () }
              qw(canary script key other durable leaves);

    $self->_send($c, 'submit', POST => '/api/v1/query', { %say, job => $job },
        $job->{key} ? ('Idempotency-Key' => $job->{key}) : (),
        @prefer ? (Prefer => join ', ', @prefer) : (),
        body => $json->encode({ query => $query, model => 'test' }));
}


sub _connect {
    my ($self) = @_;
    my $sock = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
        PeerPort => $self->{port}, Timeout => 5) or return;
    $sock->blocking(0);
    return $sock;
}


sub _send {
    my ($self, $c, $kind, $method, $path, $say, %headers) = @_;
    my $user = $self->{users}[$c->{user}];
    my $body = delete $headers{body};
    my $job = delete $say->{job};
    my $leaves = $say->{leaves};

    $c->{op} = { n => ++$self->{n}, kind => $kind, job => $job,
                 until => now() + $self->{timeout}, got => '',
                 target => $say->{target} };
    $self->_log(op => $c->{op}{n}, ev => 'invoke', client => $c->{n},
        kind => $kind, user => $c->{user}, tenant => $user->{tenant},
        owner => $user->{owner}, %$say);

    %headers = (Host => 'localhost', Authorization => "Bearer $user->{token}",
        %headers);
    @headers{qw(Content-Type Content-Length)} =
        ('application/json', length $body) if defined $body;
    my $text = "$method $path HTTP/1.1\r\n"
        . join('', map { "$_: $headers{$_}\r\n" } sort keys %headers)
        . "\r\n" . ($body // '');

    if (!($c->{sock} ||= $self->_connect)) {
        return $self->_end($c, 'fail', why => "connect: $!");
    }

    if ($leaves && $leaves eq 'early') {
        # half of the body: there is no question yet
        syswrite $c->{sock}, substr $text, 0, -10;
        return $self->_end($c, 'fail', why => 'left before the question');
    }

    my $n = syswrite $c->{sock}, $text;

    return $self->_end($c, 'unknown', why => 'write: ' . ($n // $!))
        if ($n // 0) != length $text;
    return $self->_end($c, 'unknown', why => 'left') if $leaves;
}


sub _read {
    my ($self, $c) = @_;
    my $op = $c->{op};
    my $n = sysread $c->{sock}, $op->{got}, 65536, length $op->{got};

    return if !defined $n && ($!{EAGAIN} || $!{EINTR});
    return $self->_end($c, 'unknown', why => 'closed: ' . ($n // $!)) if !$n;

    my ($head, $body) = split /\r\n\r\n/, $op->{got}, 2;
    return unless defined $body;

    # the API's answers have a length, nginx' own few pages too
    my ($length) = $head =~ /^content-length: *(\d+)/mi;
    return if defined $length && length $body < $length;
    return if !defined $length && $head =~ /^transfer-encoding: *chunked/mi
           && $body !~ /(?:^|\r\n)0\r\n\r\n\z/;

    my ($status) = $head =~ m{^HTTP/1\.1 (\d+)};
    my $close = $head =~ /^connection: *close/mi;
    $self->_answer($c, $status // 0, $head, $body);

    if ($close && $c->{sock}) {
        delete($c->{sock})->close;
    }
}


# What a stream of events said: [attempt, n, type, text]..., and its end.

sub _followed {
    my ($body) = @_;
    my %say = (events => [], end => '');
    my $text = '';

    while ($body =~ s/^([0-9a-f]+)[^\r]*\r\n//i && hex $1) {
        $text .= substr $body, 0, hex $1, '';
        $body =~ s/^\r\n//;
    }

    for my $event (split /\n\n/, $text) {
        my %field = map { /^(\w+): (.*)/ ? ($1 => $2) : () }
                    split /\n/, $event;
        my $what = $field{event} // next;
        my $data = eval { $json->decode($field{data}) } || {};
        my ($of, $n) = ($field{id} // '') =~ /^(\d+)-(\d+)$/;

        if ($what =~ /^(done|gone)$/) {
            @say{qw(end state response)} = ($what, @$data{qw(status response)});
        } elsif ($n) {
            push @{ $say{events} }, [0 + $of, 0 + $n, { search => 's',
                restart => 'r', delta => 'd' }->{$what} // '?',
                $data->{text} // ''];
        }
    }

    # deleted, or forgotten by every store
    $say{status} = 410 if $say{end} eq 'gone';
    defined $say{$_} or delete $say{$_} for qw(state response);

    return %say;
}


# What an answer means for the operation.

sub _answer {
    my ($self, $c, $status, $head, $body) = @_;
    my $op = $c->{op};
    my $data = eval { $json->decode($body) };
    $data = {} unless ref $data eq 'HASH';
    my %say = (status => 0 + $status);
    my $code = ref $data->{error} eq 'HASH' ? $data->{error}{code} : undef;

    $say{code} = $code if defined $code;
    $say{state} = $data->{status} if $status < 300 && $data->{status};
    $say{response} = $data->{response} if defined $data->{response};
    $say{cancel_requested} = 1 if $data->{cancel_requested};
    $say{was_durable} = 1
        if $head =~ /^preference-applied:.*\bdurable\b/mi;
    $say{replayed} = 1 if $head =~ /^idempotency-replayed: *true/mi;

    %say = (%say, _followed($body)) if $op->{kind} eq 'follow'
                                       && $status == 200;

    if ($op->{kind} ne 'submit') {
        $say{id} = $op->{target};
        # a cancel or delete that was answered so may have arrived
        my $ev = $status < 300 || $status == 410 ? 'ok'
               : $status == 504 ? 'unknown' : 'fail';
        return $self->_end($c, $ev, %say);
    }

    my ($id) = $head =~ m{^location: */api/v1/query/([0-9a-f-]{36})}mi;
    $id = $data->{query_id} // $id;
    $say{id} = $id if defined $id;
    my $ev = $status == 202 || $status == 200 ? 'ok'
           : $status == 504 || $status == 410 ? 'unknown' : 'fail';

    push @{ $self->{known}[$c->{user}] }, $id
        if defined $id && ($ev eq 'ok' || $status == 504);
    $self->_end($c, $ev, %say);
}


sub _end {
    my ($self, $c, $ev, %say) = @_;
    my $op = delete $c->{op};
    my $job = $op->{job};

    $self->_log(op => $op->{n}, ev => $ev, %say);
    $c->{at} = now() - $self->{think} * log(1 - rand);

    if (!$say{status} && $c->{sock}) {
        # no answer can be told from the next one
        delete($c->{sock})->close;
    }

    return unless $job && $job->{key} && !$job->{other};

    # with a key one may ask again, after an error too
    if ($ev ne 'ok' && $job->{tries} < 6) {
        push @{ $self->{todo} }, { %$job, tries => $job->{tries} + 1,
            at => now() + 0.05 + rand 0.4 * 2 ** $job->{tries} };
    } elsif ($ev eq 'ok' && rand() < $self->{again}) {
        push @{ $self->{todo} }, { %$job, tries => 9, at => now() + rand 1.5 };
    }
}

1;
