package Trifecta::Test::Stores;

# What a test asks Redis and PostgreSQL itself.  These are methods of
# Trifecta::Test (see there).

use strict;
use warnings;

use DBI;
use Test::More ();

use Trifecta::Test::Redis;


# A connection of its own; redis() shares one.

sub redis_client {
    my ($self, %opt) = @_;
    return Trifecta::Test::Redis->connect(port => $self->{redis_port},
        password => $self->secret('redis.pass'), %opt);
}


sub redis {
    my ($self, @cmd) = @_;
    my $reply;

    for my $try (0, 1) {
        my $client = $self->{redis_client} ||= $self->redis_client;
        return $reply if eval { $reply = $client->cmd(@cmd); 1 };
        my $error = $@;
        # a connection of before a restart
        delete $self->{redis_client}
            if $error =~ /redis: (no reply|connection|write)/;
        die $error
            if $try || $self->{redis_client} || $error =~ /no reply/;
    }
}


my %USER = (admin => 'postgres', queue => 'trifecta_queue',
            rag => 'trifecta_rag', edge => 'trifecta_edge');

sub pg_connect {
    my ($self, $role, $db) = @_;

    return DBI->connect("dbi:Pg:dbname=" . ($db // 'trifecta')
        . ";host=127.0.0.1;port=$self->{pg_port};connect_timeout=5",
        $USER{$role}, $self->secret("pg_$role.pass"),
        { RaiseError => 1, PrintError => 0, AutoCommit => 1,
          AutoInactiveDestroy => 1, pg_enable_utf8 => 1 });
}


# The shared connection of a role.

sub dbh {
    my ($self, $role) = @_;
    my $dbh = $self->{dbh}{$role};

    return $dbh if $dbh && $dbh->ping;
    return $self->{dbh}{$role} = $self->pg_connect($role);
}


sub sql {
    my ($self, $role, $query, @bind) = @_;
    my $sth = $self->dbh($role)->prepare($query);
    $sth->execute(@bind);
    return $sth->{NUM_OF_FIELDS} ? $sth->fetchall_arrayref : [];
}


sub snapshot_of_queue {
    my ($self) = @_;
    my $p = '{trifecta:0}';
    my %snap;

    # a sidecar writes down behind the queue what was accepted before
    my $sidecar = $self->proc('sidecar');
    $self->wait_for(sub { !$self->redis('XLEN', "$p:acc") }, 5)
        if $sidecar && $sidecar->alive;

    $snap{$_} = $self->redis('XLEN', "$p:$_") for qw(r:0 r:1 r:2 acc);
    $snap{live} = $self->redis('ZCARD', "$p:live");
    $snap{keys} = join ' ', sort grep { !/:(meta|wk)$/ }
                  @{ $self->redis('KEYS', "$p:*") };
    $snap{$_} = $self->sql('admin', "SELECT count(*) FROM trifecta.$_")->[0][0]
        for qw(job job_result);

    return \%snap;
}


sub nothing_enqueued {
    my ($self, $before, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    return Test::More::is_deeply($self->snapshot_of_queue, $before,
        $name || 'nothing was enqueued');
}

1;
