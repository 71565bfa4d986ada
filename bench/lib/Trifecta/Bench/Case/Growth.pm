package Trifecta::Bench::Case::Growth;

# What a step costs when there is much of everything: so many open jobs, of
# one tenant and of as many tenants, so many results, so many chunks.  The
# queue is filled by the function that an edge calls, results by INSERT; the
# steps are measured over HTTP and with a real sidecar.
#
# The sidecar that is there all the time keeps one job of a model that does
# not answer, and so only takes the accept log to PostgreSQL.  Another one
# claims when that is to be measured.

use strict;
use warnings;

use Time::HiRes qw(sleep time);

use Trifecta::Bench::Case::Search;
use Trifecta::Bench::Cost;
use Trifecta::Bench::Fill;
use Trifecta::Bench::Load qw(load);
use Trifecta::Bench::Rounds qw(targets);
use Trifecta::Bench::Stack;
use Trifecta::Bench::Stats qw(figure);

my $P = '{trifecta:0}';
my $MOST = 2;               # last against first
my $LARGE = 1_000_000;

# what must not grow; a search reads more of more
my @FLAT = map { "$_, µs in all" } 'jobs: submit', 'jobs: cancel',
    'jobs: claim and complete', 'tenants: submit',
    'tenants: claim and complete', 'results: read';


sub what { 'each step with a thousand to a million jobs, tenants, results' }

sub apart { 1 }


sub parts {
    my ($env) = @_;
    my @sizes = $env->{quick} ? (100, 1000)
                              : (1000, 10_000, 100_000, $LARGE);
    my $grown = $env->{grown} = { sizes => \@sizes, row => {}, seconds => {} };
    my @parts;

    for my $tenants (0, 1) {
        my $g = { env => $env, tenants => $tenants, next => 0 };
        push @parts, map { my $at = $_; {
            name => "$sizes[$at] " . ($tenants ? 'tenants' : 'jobs'),
            limit => 120 + $sizes[$at] / 1200,
            run => sub { grow($g, $at) } } } 0 .. $#sizes;
        # the stores of the others are gone before these are filled
        push @parts, { name => 'the end of these', limit => 60,
                       run => sub { delete $g->{t} } };
    }

    return @parts if $env->{quick};
    return @parts, map { my $at = $_; { name => "$sizes[$at] chunks",
        limit => 120 + $sizes[$at] / 250, run => sub { search($env, $at) } } }
        grep { $env->{large} || $sizes[$_] < $LARGE } 0 .. $#sizes;
}


# One size; after one that failed the larger ones are not tried.

sub grow {
    my ($g, $at) = @_;
    my $env = $g->{env};
    my $size = $env->{grown}{sizes}[$at];
    my $of = $g->{tenants} ? 'tenants' : 'jobs';

    die "not tried, because a smaller number failed\n" if $g->{failed};
    $g->{failed} = 1;
    begin($g) if !$g->{t};

    my $start = time;
    Trifecta::Bench::Fill::fill($g, $size);
    my %got = ("$of: seconds to fill" => time - $start, steps($g),
               memory($g, $of));
    $env->{grown}{row}{$_}[$at] = $got{$_} for keys %got;
    delete $g->{failed};
}


sub begin {
    my ($g) = @_;

    $g->{t} = Trifecta::Bench::Stack::stack($g->{env}{root},
        redis_conf => "maxmemory 12gb\nauto-aof-rewrite-percentage 0",
        sidecar => { threads => 1 },
        mock => { fast => [0, 4, 0], never => [3_600_000, 1, 0] });
    $g->{header} = Trifecta::Bench::Stack::header_of($g->{t}, 'HS256');
    submit($g, 1, 'never');
}


sub memory {
    my ($g, $of) = @_;
    my $memory = Trifecta::Bench::Cost->new(Trifecta::Bench::Stack::groups(
        $g->{t}, qw(nginx redis pg sidecar)))->memory;

    return map { ("$of: MB of $_" => $memory->{$_} / 1e6) } keys %$memory;
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
            each_of($before, $after, $n));
}


# A process that ends takes what its last tick had too much with it: of few
# requests less than nothing may be left.

sub each_of {
    my ($before, $after, $n) = @_;
    my (%us, $all);

    for my $name (keys %$after) {
        my $us = ($after->{$name} - $before->{$name}) / $n;
        $all += $us{"µs $name"} = $us > 0 ? $us : 0;
    }

    return (%us, 'µs in all' => $all);
}


sub submit {
    my ($g, $n, $model) = @_;
    my $keep = "$g->{t}{dir}/run/kept";
    my %got = http($g, $n, method => 'POST', status => 202, keep => $keep,
        body => '{"query": "What is number @@?", "model": "' . $model . '"}');

    return (\%got, $g->{t}->read_file($keep) =~ /"query_id":"([^"]+)"/g);
}


# Every step at this size; the number of open jobs stays nearly the same.

sub steps {
    my ($g) = @_;
    my $t = $g->{t};
    my $n = $g->{env}{quick} ? 50 : 1000;
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

    # some are left, of as many as there were
    my %claim = claim($g, $n / 2);
    $got{"$of: claim and complete, $_"} = $claim{$_} for keys %claim;
    return %got if $g->{tenants};

    # those that were cancelled have a row in PostgreSQL, as all results
    my $paths = $t->write_file("$t->{dir}/run/paths", join '',
        map { "/api/v1/query/$_\n" } @ids);
    my %result = http($g, 3 * $n, paths => $paths, path => '/');
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

    return each_of($us, $after, $done);
}


sub search {
    my ($env, $at) = @_;
    my $out = Trifecta::Bench::Case::Search::measured($env,
                                            $env->{grown}{sizes}[$at]);

    for my $who ('PostgreSQL', 'the index') {
        my ($p50) = $out =~ /^\Q$who\E\s+([\d.]+)/m;
        $env->{grown}{row}{"chunks: search by $who, p50 ms"}[$at] = $p50;
    }
}


# Only over the whole of it: a row that has no last column says nothing.

sub judged {
    my ($env) = @_;
    my ($row, $sizes) = @{ $env->{grown} }{qw(row sizes)};
    return if $env->{quick};

    return map { my $ratio = last_to_first($row->{$_}, $sizes);
        !defined $ratio ? () : {
            name => "$_, $sizes->[-1] against $sizes->[0]", ratio => $ratio,
            low => $ratio, high => $ratio, most => $MOST,
            held => $ratio <= $MOST } } @FLAT;
}


sub last_to_first {
    my ($values, $sizes) = @_;
    my $last = $values->[$#$sizes];

    return $values->[0] && defined $last ? $last / $values->[0] : undef;
}


sub figures {
    my ($env) = @_;
    return { sizes => $env->{grown}{sizes}, rows => $env->{grown}{row} };
}


sub text {
    my ($env, @judged) = @_;
    my ($row, $sizes) = @{ $env->{grown} }{qw(row sizes)};
    my $text = "### growth\n\n| | " . join(' | ', @$sizes)
        . " | last against first |\n|---|" . '---:|' x (@$sizes + 1) . "\n";

    for my $name (sort keys %$row) {
        my @values = @{ $row->{$name} };
        $text .= "| $name | " . join(' | ', map({ figure($_) }
            map { $values[$_] } 0 .. $#$sizes),
            figure(last_to_first(\@values, $sizes))) . " |\n";
    }

    return $text . targets(@judged) . "\n";
}

1;
