# Connections that are cut, reset, slow, in pieces or silent, between each
# program and each store: edge is nginx, side are the sidecars.

use strict;
use warnings;

my $STACK = { links => 1 };
my $LONG = 3.5;         # s, longer than a lease

my %STORE = (redis => 'Redis', pg => 'PostgreSQL');
my %SIDE = (edge => 'nginx', side => 'the sidecars');
my @links = map { my $side = $_; map { "${side}_$_" } qw(redis pg) }
            qw(edge side);

sub between {
    my ($side, $store) = $_[0] =~ /^(\w+)_(\w+)$/;
    return "between $SIDE{$side} and $STORE{$store}";
}

# name => [what, s, commands], on each of the links
my @faults = (
    [cut => 'connections closed and refused', 1.5, 'cut', 'refuse'],
    [reset => 'connections reset, again and again', 0, 'reset'],
    [stall => 'network cut both ways, for longer than a lease', $LONG,
     'stall'],
    ['stall-up' => 'network cut to the store, for longer than a lease',
     $LONG, 'stall up'],
    ['stall-down' => 'network cut from the store, for longer than a lease',
     $LONG, 'stall down'],
    [hole => 'connections half open: what is sent is lost both ways', $LONG,
     'hole'],
    ['hole-up' => 'connections half open: what is sent to the store is lost',
     $LONG, 'hole up'],
    ['hole-down' => 'connections half open: what the store answers is lost',
     $LONG, 'hole down'],
    [delay => 'each piece 50 ms later, both ways', 2, 'latency 50'],
    [slow => '20 kB a second, both ways', 2, 'rate 20000'],
    [slice => 'one byte at a time, both ways', 2, 'slice'],
);

# in the short form each fault and each link, but not each pair of them
my %quick = map { $_ => 1 } qw(edge_redis:stall-down edge_redis:reset
    side_redis:hole-down side_redis:stall side_pg:hole-up side_pg:cut
    edge_pg:stall edge_redis:slice side_pg:reset);

my @cells;

for my $link (@links) {
    for my $fault (@faults) {
        my ($name, $what, $seconds, @do) = @$fault;
        (my $short = $link) =~ s/_/-/;

        push @cells, {
            name => "$short-$name", stack => $STACK,
            what => "$what, " . between($link),
            quick => $quick{"$link:$name"},
            inject => sub {
                my ($s) = @_;
                if ($seconds) {
                    $s->link($link)->do(@do);
                    $s->rest($seconds);
                    return;
                }
                for (1 .. 8) {
                    $s->link($link)->do(@do);
                    $s->rest($s->rand(0.05, 0.4));
                }
            },
        };
    }
}

# a sidecar has one way to Redis for both: what if all ways go at once

push @cells, {
    name => 'all-stall', stack => $STACK, quick => 1,
    what => 'network cut between all programs and all stores, for longer '
            . 'than a lease',
    inject => sub {
        my ($s) = @_;
        $s->link($_)->do('stall') for @links;
        $s->rest($LONG);
    },
}, {
    name => 'all-flaky', stack => $STACK,
    what => 'resets, delays and stalls on all ways, at random',
    inject => sub {
        my ($s) = @_;
        my @do = ('reset', 'cut', 'latency 30', 'stall', 'stall up',
                  'stall down', 'slice', 'heal', 'heal', 'heal');
        for (1 .. 25) {
            my $link = $links[$s->rand(0, scalar @links)];
            $s->link($link)->do($do[$s->rand(0, scalar @do)]);
            $s->rest($s->rand(0.05, 0.3));
        }
    },
};

@cells;
