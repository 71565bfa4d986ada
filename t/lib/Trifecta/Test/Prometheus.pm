package Trifecta::Test::Prometheus;

# A strict reader of Prometheus' text format (0.0.4): stricter than Prometheus
# itself, which takes families in any order and types that do not fit.

use strict;
use warnings;

use Exporter qw(import);

our @EXPORT_OK = qw(parse_metrics);

my $NAME = qr/[a-zA-Z_:][a-zA-Z0-9_:]*/;
my $VALUE = qr/[+-]?(?:\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|Inf)|NaN/;
my %SUFFIX = (histogram => qr/^(?:_bucket|_sum|_count)$/,
              counter => qr/^$/, gauge => qr/^$/);


# Returns a hash: series => value, and a list of what is wrong.

sub parse_metrics {
    my ($text) = @_;
    my (%series, %family, @order, @wrong);
    my $n = 0;
    my $now = '';

    push @wrong, 'does not end with a line feed' unless $text =~ /\n\z/;

    for my $line (split /\n/, $text, -1) {
        $n++;
        next if $line eq '';

        if ($line =~ /^# HELP ($NAME) (\S.*)$/) {
            push @wrong, "line $n: second HELP of $1" if $family{$1}{help}++;
            push @order, $1;
            $now = $1;

        } elsif ($line =~ /^# TYPE ($NAME) (counter|gauge|histogram)$/) {
            my ($name, $type) = ($1, $2);
            my $total = $name =~ /_total$/;

            push @wrong, "line $n: TYPE of $name is not behind its HELP"
                if $name ne $now || $family{$name}{samples};
            push @wrong, "line $n: second TYPE of $name"
                if $family{$name}{type};
            push @wrong, "line $n: _total is for counters: $name"
                if $total xor $type eq 'counter';
            $family{$name}{type} = $type;

        } elsif ($line =~ /^($NAME)(?:\{(.*)\})? ($VALUE)$/) {
            my ($name, $labels, $value) = ($1, $2 // '', $3);
            my ($suffix) = $name =~ /^\Q$now\E(.*)$/s;
            my $type = $family{$now}{type} // 'nothing';
            my $rest = $labels;
            my %label;

            push @wrong, "line $n: $name is outside of its family"
                unless defined $suffix && $SUFFIX{$type}
                       && $suffix =~ $SUFFIX{$type};

            while ($rest =~ s/^([a-zA-Z_]\w*)="((?:[^"\\\n]|\\[\\"n])*)"(?:,|$)//) {
                my ($label, $text) = ($1, $2);
                push @wrong, "line $n: label $label twice"
                    if exists $label{$label};
                push @wrong, "line $n: label $label" if $label
                    =~ /user|tenant|owner|job|request|trace|addr/;
                $label{$label} = $text;
            }
            push @wrong, "line $n: labels $labels" if length $rest;

            my $key = $labels eq '' ? $name : "$name\{$labels}";
            push @wrong, "line $n: $key twice" if exists $series{$key};
            push @wrong, "line $n: $key is negative"
                if $type ne 'gauge' && $value =~ /^-/;

            $series{$key} = $value;
            $family{$now}{samples}++;

            if ($type eq 'histogram' && defined $suffix) {
                my $le = delete $label{le};
                my $id = join ',', map { "$_=$label{$_}" } sort keys %label;
                my $h = $family{$now}{h}{$id} ||= {};

                if ($suffix eq '_bucket') {
                    push @{ $h->{buckets} }, [$le // '', $value];
                } else {
                    push @wrong, "line $n: le on $name" if defined $le;
                    $h->{$suffix} = $value;
                }
            }

        } else {
            push @wrong, "line $n: $line";
        }
    }

    for my $name (@order) {
        push @wrong, "$name has no TYPE" unless $family{$name}{type};
        push @wrong, "$name has no samples" unless $family{$name}{samples};

        my $all = $family{$name}{h} || {};

        for my $id (sort keys %$all) {
            my $h = $all->{$id};
            my @b = @{ $h->{buckets} || [] };
            my ($le, $sum) = (0, 0);

            push @wrong, "$name\{$id} has no _sum or _count"
                unless defined $h->{_sum} && defined $h->{_count};
            push @wrong, "$name\{$id}: the last bucket is not +Inf"
                unless @b && $b[-1][0] eq '+Inf';
            push @wrong, "$name\{$id}: +Inf is not the count"
                unless @b && $b[-1][1] == ($h->{_count} // -1);

            for my $i (0 .. $#b - 1) {
                push @wrong, "$name\{$id}: le=$b[$i][0] is out of order"
                    unless $b[$i][0] =~ /^\d+(\.\d+)?$/ && $b[$i][0] > $le;
                ($le) = $b[$i][0] =~ /^([\d.]+)/;
            }
            for (@b) {
                push @wrong, "$name\{$id}: le=$_->[0] is less than before"
                    if $_->[1] < $sum;
                $sum = $_->[1];
            }
        }
    }

    return (\%series, \@wrong);
}

1;
