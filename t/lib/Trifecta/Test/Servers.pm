package Trifecta::Test::Servers;

# More Redis servers than one: shards, replicas and sentinels.  Methods of
# Trifecta::Test; a server that was added is a WHAT by its name: start, stop,
# kill, freeze, thaw, restart, proc and log_of take it.
#
#   shards => 4             option of new: so many shards on the one server
#   shards => ['redis', 'redis1', 'redis', ...]
#                           the server of each shard; those that are not
#                           "redis" are added, and started by start_all
#   $t->add_redis($name, replica_of => 'redis', conf => "text")
#                           a server with a port and a folder of its own; it
#                           still has to be started
#   $t->add_sentinels($n, $master, $server, pass => '...', down => 1000)
#                           $n sentinels "sentinel0" ... that watch over
#                           $server under the name $master
#   $t->url_of($name)       redis://127.0.0.1:port
#   $t->sentinel_url($master)
#                           sentinel://host:port,.../$master
#   $t->port_of($name)
#   $t->redis_at($name, cmd, args...)
#                           like redis(), at that server
#   $t->client_of($name)    a connection of its own
#   $t->shard_client($shard)
#   $t->shard_of($tenant)
#   $t->shards              how many there are; $t->server_of($shard)
#   $t->prefix($shard)      "{trifecta:0}" ...
#   $t->redis_urls          what redis_url and trifecta_redis name: set
#                           $t->{opt}{redis_urls} for another list

use strict;
use warnings;

use Carp qw(croak);

use Trifecta::Test::Redis;


sub _servers_of_shards {
    my ($self) = @_;
    my $shards = $self->{opt}{shards} // 1;

    return ref $shards ? @$shards : ('redis') x $shards;
}


sub shards    { return scalar(() = $_[0]->_servers_of_shards) }
sub server_of { return ($_[0]->_servers_of_shards)[$_[1]] }
sub prefix    { return sprintf '{trifecta:%d}', $_[1] }


sub port_of {
    my ($self, $name) = @_;

    return $self->{redis_port} if $name eq 'redis';
    return $self->{servers}{$name}{port} || croak "there is no server $name";
}


sub url_of { return 'redis://127.0.0.1:' . $_[0]->port_of($_[1]) }


sub redis_urls {
    my ($self) = @_;

    return @{ $self->{opt}{redis_urls} } if $self->{opt}{redis_urls};
    return map { $self->url_of($_) } $self->_servers_of_shards;
}


sub sentinel_url {
    my ($self, $master) = @_;
    my @at = map { "127.0.0.1:$self->{servers}{$_}{port}" }
             grep { ($self->{servers}{$_}{master} // '') eq $master }
             sort keys %{ $self->{servers} };

    return 'sentinel://' . join(',', @at) . "/$master";
}


sub _add_server {
    my ($self, $name, %server) = @_;

    croak "$name is there already" if $self->{servers}{$name};

    mkdir "$self->{dir}/$name", 0700;
    $self->{servers}{$name} = { port => $self->free_port, %server };
    return $self->{servers}{$name};
}


sub add_redis {
    my ($self, $name, %opt) = @_;
    my $server = $self->_add_server($name, pass => $self->secret('redis.pass'));
    my $more = $opt{conf} // $self->{opt}{redis_conf} // '';

    $more .= "replicaof 127.0.0.1 " . $self->port_of($opt{replica_of}) . "\n"
        if $opt{replica_of};

    # the master's password too: after a failover each may be the other
    $self->write_file("$self->{dir}/conf/$name.conf", <<"END", 0600);
bind 127.0.0.1
port $server->{port}
dir $self->{dir}/$name
requirepass $server->{pass}
masterauth $server->{pass}
appendonly yes
appendfsync always
save ""
maxmemory 256mb
maxmemory-policy noeviction
$more
END
    return $name;
}


sub add_sentinels {
    my ($self, $n, $master, $server, %opt) = @_;
    my $pass = $self->secret('redis.pass');
    my $port = $self->port_of($server);
    my $down = $opt{down} // 1000;
    my $quorum = int($n / 2) + 1;
    my @names = map { "sentinel$_" } 0 .. $n - 1;

    for my $name (@names) {
        my $s = $self->_add_server($name, master => $master, sentinel => 1,
                                   pass => $opt{pass});
        my $auth = defined $opt{pass} ? <<"END" : '';
requirepass $opt{pass}
sentinel sentinel-pass $opt{pass}
END

        # it is rewritten by the sentinel
        $self->write_file("$self->{dir}/conf/$name.conf", <<"END", 0600);
bind 127.0.0.1
port $s->{port}
dir $self->{dir}/$name
$auth
sentinel monitor $master 127.0.0.1 $port $quorum
sentinel auth-pass $master $pass
sentinel down-after-milliseconds $master $down
sentinel failover-timeout $master 6000
END
    }

    return @names;
}


sub _start_server {
    my ($self, $name) = @_;
    my $server = $self->{servers}{$name};
    my $proc = $self->_spawn($name, cmd => ['redis-server',
        "$self->{dir}/conf/$name.conf", $server->{sentinel} ? '--sentinel' : ()
    ]);

    my $error = $self->_wait_port($proc, $server->{port});
    return $error if $error;

    $self->wait_for(sub { $self->redis_at($name, 'PING') }, 10)
        or return 'no answer to PING';
    return;
}


sub _add_shards {
    my ($self) = @_;

    for my $name ($self->_servers_of_shards) {
        $self->add_redis($name)
            if $name ne 'redis' && !$self->{servers}{$name};
    }
}


# A connection each time: a test that kills servers would keep dead ones.

sub client_of {
    my ($self, $name) = @_;
    my $pass = $name eq 'redis' ? $self->secret('redis.pass')
                                : $self->{servers}{$name}{pass};

    return Trifecta::Test::Redis->connect(port => $self->port_of($name),
        password => $pass);
}

sub redis_at { my ($self, $name, @cmd) = @_; $self->client_of($name)->cmd(@cmd) }
sub shard_client { $_[0]->client_of($_[0]->server_of($_[1])) }


# The shard of a tenant, as both programs compute it (include/trifecta/keys.h).

sub shard_of {
    my ($self, $tenant) = @_;
    my $crc = 0;

    for my $octet (unpack 'C*', $tenant) {
        $crc ^= $octet << 8;
        $crc = ($crc & 0x8000 ? $crc << 1 ^ 0x1021 : $crc << 1) & 0xffff
            for 1 .. 8;
    }

    return $crc % $self->shards;
}

1;
