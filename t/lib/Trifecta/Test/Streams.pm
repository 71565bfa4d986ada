package Trifecta::Test::Streams;

=head1 NAME

Trifecta::Test::Streams - clients of streams, and jobs that say what a test
wants

=head1 SYNOPSIS

    my $s = Trifecta::Test::Streams->new($t);
    my $id = $s->job;                   # claimed by us, attempt 1
    my $one = $s->open($id);            # a client; last => '1-7' resumes
    $s->emit($id, 1, 1, 's', '', 2, 'd', 'Hello');
    my $event = $one->next(5);          # { event, id, data, at }; or undef
    $s->end($id, 'Hello', [5]);         # row, then the doorbell
    my @rest = $one->rest(5);           # until the end
    $one->proper;                       # ... which was a proper one

=cut

use strict;
use warnings;

use IO::Select;
use JSON::PP ();
use Time::HiRes qw(sleep time);

my $P = '{trifecta:0}';
my $Q = '/api/v1/query';
my $json = JSON::PP->new->utf8->canonical->allow_nonref;


sub new {
    my ($class, $t) = @_;
    return bless { t => $t, lease => {}, attempt => {} }, $class;
}


# The worker: what a sidecar tells the stores.

sub job {
    my ($self, %opt) = @_;
    my $t = $self->{t};
    my $id = $t->ask($opt{query} // 'x', %opt);
    $self->claim($id);
    return $id;
}


sub claim {
    my ($self, $id) = @_;
    my $t = $self->{t};

    delete $self->{lease}{$id};

    while (!$self->{lease}{$id}) {
        my (undef, @jobs) = @{ $t->redis('FCALL', 'trifecta_claim_v1', 1, $P,
                                         'tester', 100) };
        die "$id is not ready\n" unless @jobs;

        for my $job (@jobs) {
            $self->{lease}{ $job->[1] } = $job->[3];
            $self->started($job->[1]);
        }
    }
}


sub started {
    my ($self, $id) = @_;
    $self->{t}->redis('FCALL', 'trifecta_started_v1', 1, $P, 'tester', $id,
                      $self->{lease}{$id}, ++$self->{attempt}{$id});
}


# Back into the queue, and another attempt.

sub again {
    my ($self, $id) = @_;
    $self->{t}->redis('FCALL', 'trifecta_release_v1', 1, $P, 'tester', $id,
                      $self->{lease}{$id});
    $self->claim($id);
}


sub emit {
    my ($self, $id, $attempt, @events) = @_;
    my @args;

    while (my ($n, $type, $data) = splice @events, 0, 3) {
        push @args, $id, $self->{lease}{$id}, $attempt, $n, $type, $data;
    }

    my $said = $self->{t}->redis('FCALL', 'trifecta_emit_v1', 1, $P,
                                 'tester', @args);
    die "emit: @$said\n" if grep { $_ ne 'OK' } @$said;
}


# The row of an end.  deltas: where the pieces of the body end; or undef.

sub row {
    my ($self, $id, $body, $deltas, %opt) = @_;

    $self->{t}->sql('admin', 'WITH j AS (INSERT INTO trifecta.job (id,'
        . ' tenant, owner, kind, model, prio, state, attempt, accepted,'
        . ' finished, deadline, streamed, request)'
        . " VALUES (?, 'default', 'test:alice', 'query', 'extractive', 1, ?,"
        . ' ?, now(), now(), now(), ?, ?) RETURNING *)'
        . ' INSERT INTO trifecta.job_result (job, tenant, owner, attempt,'
        . ' body, deltas) SELECT id, tenant, owner, attempt, ?, ?::integer[]'
        . ' FROM j WHERE ?::text IS NOT NULL',
        $id, $opt{state} // 'succeeded', $self->{attempt}{$id} // 1,
        $opt{streamed} ? $json->encode($opt{streamed}) : undef,
        $json->encode($opt{request} || {}),
        $body, $deltas ? '{' . join(',', @$deltas) . '}' : undef, $body);
}


sub finish {
    my ($self, $id, $state) = @_;
    my $said = $self->{t}->redis('FCALL', 'trifecta_finish_v1', 1, $P,
        'tester', $id, $self->{lease}{$id}, $state // 'succeeded');
    die "finish: @$said\n" unless $said->[0] eq 'OK';
}


sub end {
    my ($self, $id, $body, $deltas, %opt) = @_;
    $self->row($id, $body, $deltas, %opt);
    $self->finish($id, $opt{state});
}


# All of a job that has just these pieces.

sub whole {
    my ($self, @pieces) = @_;
    my $id = $self->job;
    my ($end, @ends) = (0);

    for my $piece (@pieces) {
        $end += length $piece;
        push @ends, $end;
    }

    $self->end($id, join('', @pieces), \@ends,
               streamed => { search => JSON::PP::true });
    return $id;
}


# The client.

sub open {
    my ($self, $id, %opt) = @_;

    return $self->request('GET', $opt{path} // "$Q/$id/events", %opt);
}


sub request {
    my ($self, $method, $path, %opt) = @_;
    my $t = $self->{t};
    my $body = defined $opt{json} ? $json->encode($opt{json}) : '';
    my %headers = (Host => 'localhost',
        Authorization => 'Bearer ' . ($opt{token} // $t->token),
        defined $opt{last} ? ('Last-Event-ID' => $opt{last}) : (),
        length $body ? ('Content-Type' => 'application/json',
                        'Content-Length' => length $body) : (),
        %{ $opt{headers} || {} });
    my $sock = $opt{socket} || $t->socket(%opt) or die "no connection: $!\n";

    $sock->blocking(1);
    print {$sock} "$method $path HTTP/" . ($opt{version} // '1.1') . "\r\n",
        map({ "$_: $headers{$_}\r\n" } sort keys %headers), "\r\n", $body;
    $sock->blocking(0);

    return bless { sock => $sock, got => '', text => '', t => $t,
                   events => [], start => time },
        'Trifecta::Test::Streams::Client';
}


package Trifecta::Test::Streams::Client;

use IO::Select;
use Time::HiRes qw(sleep time);


# Takes what has come; waits for more of it at most that long.

sub fill {
    my ($self, $timeout) = @_;
    my $end = time + $timeout;

    while (!$self->{closed}) {
        $! = 0;     # what is no TLS record sets none
        my $n = sysread $self->{sock}, $self->{got}, 65536,
                        length $self->{got};
        if ($n) {
            $self->parse;
            return 1;
        }

        if (defined $n
            || !$!{EAGAIN} && !$!{EWOULDBLOCK} && !$!{EINTR})
        {
            $self->{eof} = 1 if defined $n;
            $self->{closed} = 1;
            last;
        }

        my $left = $end - time;
        return 0 if $left <= 0;
        IO::Select->new($self->{sock})->can_read($left < 0.05 ? $left : 0.05);
    }

    return 0;
}


sub parse {
    my ($self) = @_;

    if (!$self->{headers}) {
        $self->{got} =~ s{\AHTTP/\S+ (\d+)[^\r]*\r\n(.*?\r\n)\r\n}{}s
            or return;
        ($self->{status}, my $head) = ($1, $2);
        $self->{headers} = { map { /^([^:]+):\s*(.*)$/ ? (lc $1 => $2) : () }
                             split /\r\n/, $head };
    }

    if (($self->{headers}{'transfer-encoding'} // '') eq 'chunked') {
        while ($self->{got} =~ /\A([0-9a-f]+)\r\n/i) {
            my ($head, $size) = (length $&, hex $1);
            last if length $self->{got} < $head + $size + 2;
            $self->{text} .= substr $self->{got}, $head, $size;
            substr($self->{got}, 0, $head + $size + 2) = '';
            $self->{last} = 1 if $size == 0;
        }
    } else {
        $self->{text} .= $self->{got};
        $self->{got} = '';
    }

    return if ($self->{headers}{'content-type'} // '')
              !~ m{^text/event-stream};

    while ($self->{text} =~ s/\A(.*?)\n\n//s) {
        my $block = $1;
        my %event = (at => time);

        if ($block =~ /^:/) {
            $self->{beats}++;
            next;
        }

        $block =~ /^$_: (.*)$/m and $event{$_} = $1 for qw(event id data
                                                           retry);
        $event{json} = eval { $json->decode($event{data}) }
            if defined $event{data};
        push @{ $self->{events} }, \%event if $event{event};
        push @{ $self->{data} }, $event{data}
            if defined $event{data} && !$event{event};
        $self->{retry} = $event{retry} if $event{retry};
    }
}


# The next event, within so many seconds; undef: none, or the end.

sub next {
    my ($self, $timeout) = @_;
    my $end = time + $timeout * $self->{t}->slow;

    while (!@{ $self->{events} } && !$self->{closed} && !$self->{last}) {
        my $left = $end - time;
        last if $left <= 0;
        $self->fill($left);
    }

    return shift @{ $self->{events} };
}


# The next one that is no status.

sub said {
    my ($self, $timeout) = @_;

    while (my $event = $self->next($timeout)) {
        return $event unless $event->{event} eq 'status';
    }

    return undef;
}


# All that come until the response ends, or until nothing came for so long.

sub rest {
    my ($self, $timeout) = @_;
    my @events;

    while (my $event = $self->next($timeout)) {
        push @events, $event;
    }

    return @events;
}


# What they say, each as "event id text".

sub lines {
    my ($self, $timeout) = @_;

    return map { Trifecta::Test::Streams::line($_) }
           grep { $_->{event} ne 'status' } $self->rest($timeout);
}


# The data of what has no event, once the response has ended.

sub data {
    my ($self, $timeout) = @_;
    $self->proper($timeout);
    return @{ $self->{data} || [] };
}


# The headers, and the body of what is no stream.

sub head {
    my ($self, $timeout) = @_;
    my $end = time + $timeout * $self->{t}->slow;

    $self->fill($end - time) until $self->{headers} || $self->{closed}
                                   || time > $end;
    return $self->{status} // 0;
}

sub header { $_[0]{headers}{$_[1]} }

sub beats { $_[0]{beats} // 0 }


# Whether the server has ended it, and properly: 1, 0; undef: it is open.

sub proper {
    my ($self, $timeout) = @_;
    my $end = time + ($timeout // 5) * $self->{t}->slow;

    $self->fill($end - time) until $self->{closed} || $self->{last}
                                   || time > $end;
    return 1 if $self->{last};
    return $self->{closed} ? 0 : undef;
}

sub close { close $_[0]{sock} }


package Trifecta::Test::Streams;

sub line {
    my ($event) = @_;
    my $what = join ' ', $event->{event}, $event->{id} // '-';

    return $what . ' ' . $event->{json}{text} if $event->{event} eq 'delta';
    return $what;
}

1;
