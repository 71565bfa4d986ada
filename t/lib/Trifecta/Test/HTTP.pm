package Trifecta::Test::HTTP;

# What a test says to nginx: requests over verified TLS, raw bytes, tokens.
# These are methods of Trifecta::Test (see there).

use strict;
use warnings;

use Digest::SHA qw(hmac_sha256 hmac_sha384 hmac_sha512);
use HTTP::Tiny;
use IO::Select;
use IO::Socket::INET;
use IO::Socket::SSL;
use JSON::PP ();
use MIME::Base64 qw(encode_base64url);
use Socket qw(IPPROTO_TCP TCP_NODELAY);
use Time::HiRes qw(time sleep);

my $json = JSON::PP->new->utf8->canonical->allow_nonref;

# HTTP::Tiny sends a body in a packet of its own, which the kernel would hold
# back for 40 ms, until the header is acknowledged.

{
    my $connect = \&HTTP::Tiny::Handle::connect;
    no warnings 'redefine';
    *HTTP::Tiny::Handle::connect = sub {
        my $handle = $connect->(@_);
        setsockopt $handle->{fh}, IPPROTO_TCP, TCP_NODELAY, 1;
        return $handle;
    };
}


sub url { my ($self, $path) = @_; "https://localhost:$self->{port}$path" }


sub get  { my ($self, $path, %opt) = @_; $self->request('GET', $path, %opt) }


sub post {
    my ($self, $path, $body, %opt) = @_;
    return $self->request('POST', $path,
                          ref $body ? (json => $body) : (body => $body), %opt);
}


sub request {
    my ($self, $method, $path, %opt) = @_;
    my %headers = %{ $opt{headers} || {} };
    my $url = $opt{url} || $self->url($path);
    my $token = exists $opt{token} ? $opt{token} : $self->token;
    my $body = exists $opt{json} ? $json->encode($opt{json}) : $opt{body};

    $headers{Authorization} //= "Bearer $token" if defined $token;
    $headers{'Content-Type'} //= 'application/json' if defined $body;

    my $http = $opt{keep_alive}
        ? ($self->{http}{$$} ||= $self->_http(1)) : $self->_http(0);
    $http->timeout($opt{timeout} || 15);

    my $start = time;
    my $res = $http->request($method, $url,
        { headers => \%headers, defined $body ? (content => $body) : () });

    return $self->_response($res->{status}, $res->{headers}, $res->{content},
                            time - $start);
}


sub _http {
    my ($self, $keep) = @_;
    return HTTP::Tiny->new(keep_alive => $keep, verify_SSL => 1,
        max_redirect => 0, agent => 'trifecta-test',
        SSL_options => { SSL_ca_file => $self->{ca} });
}


sub _response {
    my ($self, $status, $headers, $content, $took) = @_;
    my $type = $headers->{'content-type'} // '';
    my $data = $type =~ m{^application/([\w.-]+\+)?json}
        ? eval { $json->decode($content) } : undef;

    return { status => $status, headers => $headers, content => $content,
             json => $data, time => $took,
             code => ref $data eq 'HASH' && ref $data->{error} eq 'HASH'
                     ? $data->{error}{code} : undef };
}


# Exactly these bytes, over TLS (plain => 1: to the admin port, without);
# alpn => 'h2' for HTTP/2.  Without code: what came until the server closed,
# one whole response came, or the time was up.

sub socket {
    my ($self, %opt) = @_;

    return $opt{plain}
        ? IO::Socket::INET->new(PeerAddr => '127.0.0.1',
              PeerPort => $opt{port} || $self->{admin_port}, Timeout => 5)
        : IO::Socket::SSL->new(PeerAddr => '127.0.0.1',
              PeerPort => $opt{port} || $self->{port}, Timeout => 5,
              SSL_ca_file => $self->{ca}, SSL_hostname => 'localhost',
              SSL_verifycn_name => 'localhost',
              SSL_verifycn_scheme => 'http',
              SSL_verify_mode => SSL_VERIFY_PEER,
              $opt{alpn} ? (SSL_alpn_protocols => [$opt{alpn}]) : ());
}


sub raw {
    my ($self, $bytes, %opt) = @_;
    my $start = time;
    my $end = $start + ($opt{timeout} || 5);
    my $got = '';

    local $SIG{PIPE} = 'IGNORE';

    my $sock = $self->socket(%opt)
        or return { %{ $self->_response(599, {}, "$!", 0) }, raw => '' };

    $sock->blocking(1);
    print {$sock} $bytes;
    $sock->flush;
    $sock->blocking(0);

    while (time < $end) {
        my $n = sysread $sock, $got, 65536, length $got;
        last if defined $n && $n == 0;
        next if $n;
        last unless $!{EAGAIN} || $!{EWOULDBLOCK} || $!{EINTR};

        last if !$opt{all} && $got =~ /^HTTP.*?\r\n\r\n/s
            && _complete($got);

        my $left = $end - time;
        IO::Select->new($sock)->can_read($left > 0.05 ? 0.05 : $left);
    }

    $sock->close;

    my ($status) = $got =~ m{^HTTP/\S+ (\d+)};
    my ($head, $body) = split /\r\n\r\n/, $got, 2;
    my %headers = map { /^([^:]+):\s*(.*)$/ ? (lc $1 => $2) : () }
                  split /\r\n/, $head // '';

    return { %{ $self->_response($status // 0, \%headers, $body // '',
                                 time - $start) }, raw => $got };
}


sub _complete {
    my ($head, $body) = split /\r\n\r\n/, $_[0], 2;
    return length $body >= $1 if $head =~ /^content-length: *(\d+)/mi;
    return $body =~ /0\r\n\r\n\z/ if $head =~ /^transfer-encoding:/mi;
    return $head =~ m{^HTTP/\S+ (204|304)};
}


# Asking.  ask() returns the id (and dies unless 202), wait_for_answer() the
# decoded body of the first GET with a state that is final.

sub ask {
    my ($self, $query, %opt) = @_;
    my %body = (query => $query, %{ $opt{body} || {} },
                $opt{model} ? (model => $opt{model}) : ());

    my $res = $self->post('/api/v1/query', \%body,
        exists $opt{token} ? (token => $opt{token}) : ());
    die "POST /api/v1/query: $res->{status} $res->{content}\n"
        unless $res->{status} == 202;

    return $res->{json}{query_id};
}


sub result {
    my ($self, $id, %opt) = @_;
    return $self->get("/api/v1/query/$id", %opt);
}


sub wait_for_answer {
    my ($self, $id, %opt) = @_;
    my $timeout = delete $opt{timeout} || 30 * $self->slow;
    my $end = time + $timeout;
    my $res;

    do {
        $res = $self->result($id, %opt);
        return $res->{json} if $res->{status} == 200
            && $res->{json}{status} !~ /^(queued|running)$/;
        sleep 0.05;
    } while (time < $end);

    die "no end of $id after $timeout s: $res->{status} $res->{content}\n";
}


sub ask_and_wait {
    my ($self, $query, %opt) = @_;
    my %as = exists $opt{token} ? (token => $opt{token}) : ();
    my $timeout = $opt{timeout};

    return $self->wait_for_answer($self->ask($query, %opt), %as,
                                  $timeout ? (timeout => $timeout) : ());
}


# Plain HTTP to the admin listener, and to the listener of sidecar n.

sub admin {
    my ($self, $path, %opt) = @_;
    return $self->request('GET', $path, token => undef, %opt,
        url => "http://127.0.0.1:$self->{admin_port}$path");
}


sub sidecar_get {
    my ($self, $n, $path, %opt) = @_;
    my $port = $self->{sidecars}[$n]{port};
    return $self->request('GET', $path, token => undef, %opt,
        url => "http://127.0.0.1:$port$path");
}


# name{labels} => value
sub metrics {
    my ($self, $n) = @_;
    my $res = defined $n ? $self->sidecar_get($n, '/metrics')
                         : $self->admin('/metrics');
    my %m = $res->{content} =~ /^([^#\s{][^\s{]*(?:\{.*\})?) (\S+)$/mg;

    # the sum of all shards has the plain name
    /^(\w+)\{shard="\d+"\}$/ and $m{$1} += $m{$_} for keys %m;

    return \%m;
}


# Tokens.  The defaults are those of a valid one; undef removes a claim.
# -header => {...} adds members, -alg, -key (HMAC secret) and -sign => sub
# change how it is signed, -payload => 'text' replaces the claims.

sub token {
    my ($self, %claims) = @_;
    my $default = !%claims;

    if ($default && $self->{cached_token}
        && $self->{cached_until} > time)
    {
        return $self->{cached_token};
    }

    my $alg = delete $claims{-alg} // 'HS256';
    my $token = $self->_jwt($alg, $self->{issuers}{test}{iss}, sub {
        return '' if $alg eq 'none';
        my $hmac = { HS256 => \&hmac_sha256, HS384 => \&hmac_sha384,
                     HS512 => \&hmac_sha512 }->{$alg}
            or die "token: unknown alg $alg\n";
        return $hmac->($_[0], $_[1] // $self->{jwt_secret});
    }, %claims);

    @$self{qw(cached_token cached_until)} = ($token, time + 600) if $default;

    return $token;
}


sub token_rs256 {
    my ($self, %claims) = @_;

    return $self->_jwt('RS256', $self->{issuers}{rsa}{iss}, sub {
        my ($input, $key) = @_;
        my $in = "$self->{dir}/jwt.input.$$";
        $self->write_file($in, $input);
        $key //= "$self->{dir}/secrets/rsa.key";
        my $sig = qx(openssl dgst -sha256 -sign "$key" -binary "$in");
        unlink $in;
        return $sig;
    }, %claims);
}


sub _jwt {
    my ($self, $alg, $iss, $sign, %claims) = @_;
    my $now = int time;

    my $header = { alg => $alg, typ => 'JWT',
                   %{ delete $claims{-header} || {} } };
    my $key = delete $claims{-key};
    my $payload = delete $claims{-payload};
    $sign = delete $claims{-sign} || $sign;

    %claims = (iss => $iss, aud => 'trifecta', sub => 'alice', iat => $now,
               nbf => $now, exp => $now + 3600, %claims);
    for my $set (\%claims, $header) {
        delete @$set{grep { !defined $set->{$_} } keys %$set};
    }

    my $input = encode_base64url($json->encode($header)) . '.'
        . encode_base64url($payload // $json->encode(\%claims));

    return "$input." . encode_base64url($sign->($input, $key));
}

1;
