#!/usr/bin/perl

# The manual says what the sources say: directives, variables, configuration
# keys, error codes, commands, options and metrics, none too few and none too
# many; its links lead somewhere.

use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename qw(basename dirname);
use Test::More;

my $root = abs_path(dirname(__FILE__) . '/..');


sub slurp {
    my ($file) = @_;
    open my $fh, '<:encoding(UTF-8)', $file or die "$file: $!\n";
    local $/;
    return scalar <$fh>;
}


sub sources { join "\n", map { slurp($_) } map { glob "$root/$_" } @_ }

# one assertion that names what is wrong

sub none {
    my ($name, @wrong) = @_;
    ok(!@wrong, $name) or diag(map { "  $_\n" } sort @wrong);
}


my %page = map { basename($_) => slurp($_) } glob "$root/docs/*.md";
my $readme = slurp("$root/README.md");
my $module = sources('ngx_module/*.[ch]');
my $sidecar = sources('sidecar/*/*.[ch]');


# Directives: the table with its comments, against the page's sections.

my %contexts = (NGX_HTTP_MAIN_CONF => 'http', NGX_HTTP_SRV_CONF => 'server',
                NGX_HTTP_LOC_CONF => 'location',
                NGX_HTTP_LIF_CONF => 'if in location');
my %directive;

while ($module =~ m{/\*((?:(?!\*/).)*?Syntax:(?:(?!\*/).)*)\*/\s*
                    \{\s*ngx_string\("(trifecta\w*)"\),\s*([\w|\s]+),}gsx)
{
    my ($comment, $name, $flags) = ($1, $2, $3);
    my ($default) = $comment =~ /Default:\s+(.*?)\s*\n/;
    $directive{$name} = { default => $default, context => join(', ', sort
                          map { $contexts{$_} // () } $flags =~ /\w+/g) };
}

my ($table) = $module =~ /ngx_command_t\s+\w+\[\]\s*=\s*\{(.*?)\n\};/s;
my @commands = $table =~ /\{\s*ngx_string\("(\w+)"\)/g;

cmp_ok(scalar @commands, '>', 5, 'the table of directives is found');
none('each directive has its comment in the table',
     grep { !$directive{$_} } @commands);

my %section = $page{'nginx-directives.md'} =~ /^## (\w+)\n(.*?)(?=^## |\z)/msg;

none('each directive has a section', grep { !$section{$_} } @commands);
none('each section is of a directive',
     grep { /^trifecta/ && !$directive{$_} } keys %section);

for my $name (@commands) {
    my $text = $section{$name} // '';
    my ($syntax) = $text =~ /^Syntax: `(.*)`  $/m;
    my ($default) = $text =~ /^Default: (.*?)  $/m;
    my ($context) = $text =~ /^Context: (.*?)$/m;
    my $want = $directive{$name}{default} // '-';

    like($syntax, qr/^\Q$name\E .*;$/, "$name: Syntax");

    if ($want =~ /^-/) {
        like($default, qr/^none \(/, "$name: Default");
    } else {
        is($default, "`$want`", "$name: Default");
    }

    is(join(', ', sort split /, /, $context // ''),
       $directive{$name}{context}, "$name: Context");
}

my ($vars) = $module =~ /ngx_http_variable_t\s+\w+\[\]\s*=\s*\{(.*?)\n\};/s;
none('each variable is documented', grep {
    index($page{'nginx-directives.md'}, "`\$$_") < 0
} $vars =~ /ngx_string\("(\w+)"\)/g);


# Keys of the configuration

my %key = slurp("$root/sidecar/base/conf.h")
    =~ /X\(\w+,\s+(\w+),\s+"([^"]*)"/g;
my %row = $page{'configuration.md'} =~ /^\| `(\w+)` \| (.*?) \|/mg;
s/^`(.*)`$/$1/ || s/^empty$// for values %row;

cmp_ok(scalar keys %key, '>', 20, 'the table of keys is found');
none('configuration.md has each key with its default',
     map { "$_ = $key{$_}" }
     grep { !defined $row{$_} || $row{$_} ne $key{$_} } keys %key);
none('configuration.md has no key that does not exist',
     grep { !exists $key{$_} } keys %row);


# Keys of a model

my $models = slurp("$root/sidecar/llm/models.h") =~ s/\\\n//gr;
my %model = $models =~ /X\(\w+,\s*(\w+),\s*"([^"]*)"/g;
my %model_row = $page{'models.md'} =~ /^\| `(\w+)` \| (.*?) \|/mg;
s/^`(.*)`$/$1/ || s/^empty$// for values %model_row;

cmp_ok(scalar keys %model, '>', 10, 'the table of a model\'s keys is found');
none('models.md has each key of a model with its default',
     map { "$_ = $model{$_}" } grep { !defined $model_row{$_}
         || $model_row{$_} ne $model{$_} } keys %model);
none('models.md has no key that does not exist',
     grep { !exists $model{$_} } keys %model_row);


# Limits and formats of documents

my %limit;
my $limits = slurp("$root/sidecar/extract/limits.h") =~ s/\\\n//gr;
while ($limits =~ /X\((\w+),\s+(\d+)( \* TF_MB)?,\s+[^"]*?([BNS]),\s+"(.*?)",/g) {
    $limit{$1} = [!$3 ? $2 : $2 % 1024 ? "${2}m" : $2 / 1024 . 'g', $5];
}

my ($bounds) = $page{'documents.md'} =~ /^## Limits of documents\n(.*?)^## /ms;
my %bound;
$bound{$1} = [$2, $3] while $bounds =~ /^\| `(\w+)` \| (\w+) \| (.*?)(?:;.*)? \|$/mg;

cmp_ok(scalar keys %limit, '>', 8, 'the table of limits is found');
is_deeply(\%bound, \%limit, 'documents.md has each limit with its default');

my ($suffixes) = slurp("$root/sidecar/extract/extract.c")
    =~ /tf_formats\[\] = \{(.*?)\n\};/s;
my ($formats) = $page{'documents.md'} =~ /^## Formats of documents\n(.*?)^## /ms;
my @suffixes = $suffixes =~ /\{ "(\.\w+)",/g;
cmp_ok(scalar @suffixes, '>', 15, 'the table of formats is found');
none('documents.md has each suffix of a format',
     grep { $formats !~ /^\|.*`\Q$_\E`/m } @suffixes);


# Error codes, of answers and of jobs

my %status;
my $errors = slurp("$root/include/trifecta/error.h") =~ s/\\\n//gr;
while ($errors =~ /X\(\w+,\s*(\d+),\s*"(\w+)"/g) {
    $status{$2} = $1;
}

my %said;
while ($page{'api.md'} =~ /^\| (\d\d\d) \| `(\w+)` \|/mg) {
    $said{$2} = $1;
}

cmp_ok(scalar keys %status, '>', 15, 'the table of errors is found');
none('api.md has each error with its status',
     grep { ($said{$_} // 0) != $status{$_} } keys %status);
none('api.md has no error that does not exist',
     grep { !$status{$_} } keys %said);

my %failed = map { $_ => 1 }
    $sidecar =~ /tf_job_fail\([^;]*?,\s*TF_JOB_\w+,\s*"(\w+)"/g,
    $sidecar =~ /tf_(?:answer|chat)_failed\(\w+,\s*"(\w+)"/g,
    $sidecar =~ /\\"code\\":\s*\\"(\w+)\\"/g;
my ($of_jobs) = $page{'api.md'} =~ /^## Errors of a job\n(.*?)^## /ms;

none('api.md has each error of a job',
     grep { $of_jobs !~ /^\| `$_` \|/m } keys %failed);


# Members of a question

my @members = $module =~ /^    \{ "(\w+)",\s+[01], ngx_http_trifecta_/mg;
cmp_ok(scalar @members, '>', 3, 'the table of members is found');
none('api.md has each member of a question',
     grep { $page{'api.md'} !~ /`$_`/ } @members);


# Metrics

my %metric;

my $counters;
for my $table ('COUNTERS', 'SHARD_COUNTERS') {
    ($counters) = $module =~ /define NGX_HTTP_TRIFECTA_$table\(X\)(.*?)\n\n/s;
    $metric{"trifecta_$_"} = 1 for $counters =~ /X\(\w+, "(\w+)"/g;
}
$metric{"trifecta_$_"} = 1 for $module =~ /_(?:gauge|head)\(\w+, "(\w+)"/g;

($counters) = $sidecar =~ /define TF_QUEUE_COUNTERS\(X\)(.*?)\n\n/s;
$metric{"trifecta_worker_${_}_total"} = 1 for $counters =~ /X\((\w+),/g;
$metric{"trifecta_worker_$_"} = 1 for $sidecar =~ /_gauge\(\w+, "(\w+)"/g;

($counters) = $sidecar =~ /define TF_QUEUE_HISTOGRAMS\(X\)(.*?)\n\n/s;
$metric{"trifecta_worker_$_"} = 1 for $counters =~ /X\(\w+, \w+, "(\w+)"/g;
$metric{$_} = 1 for $sidecar =~ /"(trifecta_(?:(?:queue|build|shard|durability|library|rebuilds|reconcile|reconciled|index|webhook|batch|batches|model)_\w+|adopted|batches))",/g;

($counters) = $sidecar =~ /define TF_MEM_COUNTERS\(X\)(.*?)\n\n/s;
$metric{"trifecta_index_${_}_total"} = 1 for $counters =~ /X\((\w+),/g;

($counters) = $sidecar =~ /define TF_WEBHOOK_COUNTERS\(X\)(.*?)\n\n/s;
$metric{"trifecta_webhook_${_}_total"} = 1 for $counters =~ /X\((\w+),/g;

my ($gauges) = $sidecar =~ /tf_metrics_gauges\[\] = \{(.*?)\n\};/s;
for my $name ($gauges =~ /\{ "\w+", "(\w+)", /g) {
    $metric{"trifecta_${_}_$name"} = 1 for qw(queue shard);
}

$metric{$_} = 1 for "$module$sidecar" =~ /# TYPE (trifecta_[a-z_]+) \w/g;

my %documented = map { $_ => 1 }
    $page{'operations.md'} =~ /^\| `(trifecta_\w+?)(?:\{[\w,]+\})?` \| (?:counter|gauge|histogram) /mg;

cmp_ok(scalar keys %metric, '>', 20, 'metrics are found');
none('operations.md has each metric', grep { !$documented{$_} } keys %metric);
none('operations.md has no metric that does not exist',
     grep { !$metric{$_} } keys %documented);


# Commands and options, as the program prints them

my $bin = $ENV{TRIFECTA_BIN} || "$root/build/test/trifecta";
my %command = $page{'cli.md'} =~ /^## trifecta (\w+)\n(.*?)(?=^## |\z)/msg;

SKIP: {
    skip "there is no $bin", 3 unless -x $bin;

    my $help = `'$bin' --help 2>&1`;
    my @names = $help =~ /^  ([a-z]+)  +\S/mg;

    is(join(' ', sort keys %command), join(' ', sort @names),
       'cli.md has a section for each command');

    my (@missing, @extra);

    for my $name (@names) {
        my $text = `'$bin' $name --help 2>&1`;
        my %option = map { $_ => 1 } $text =~ /^  (--[\w-]+(?: [A-Z][A-Z,]*)?) /mg;
        my %has = map { $_ => 1 } ($command{$name} // '') =~ /^\| `(--[^`]*)` \|/mg;

        delete @option{'--help', '--config FILE'};
        push @missing, map { "$name $_" } grep { !$has{$_} } keys %option;
        push @extra, map { "$name $_" } grep { !$option{$_} } keys %has;
    }

    none('cli.md has each option', @missing);
    none('cli.md has no option that does not exist', @extra);
}


# Links, headings, words

my %anchors;

for my $name (keys %page) {
    my $text = $page{$name} =~ s/^```.*?^```//msgr;
    for ($text =~ /^#+ (.*)/mg) {
        my $anchor = lc;
        $anchor =~ s/[^\w\- ]//g;
        $anchor =~ tr/ /-/;
        push @{ $anchors{$name} }, $anchor;
    }
}

my (@broken, @twice, @words);
my %all = ('README.md' => $readme, map { ("docs/$_" => $page{$_}) } keys %page);

for my $file (sort keys %all) {
    my $dir = dirname("$root/$file");

    for my $link ($all{$file} =~ /\]\(([^)\s]+)\)/g) {
        next if $link =~ m{^https?://};
        my ($path, $anchor) = $link =~ /^([^#]*)#?(.*)/;
        my $name = $path eq '' ? basename($file) : basename($path);

        push @broken, "$file: $link" if $path ne '' && !-e "$dir/$path"
            || $anchor ne '' && !grep { $_ eq $anchor } @{ $anchors{$name} };
    }

    my $line = 0;
    for (split /\n/, $all{$file}) {
        $line++;
        push @words, "$file:$line: $_"
            if /\bcurl\b.*(?:\s-\w*k\b|--insecure)/ || /user\s+root\b/
            || m{(?:^|[\s`"'=(])/(?:work|root|home|tmp)/}
            || /\b(?:TODO|FIXME|XXX)\b/ || /\bissue\s+#?\d/i;
    }
}

for my $name (sort keys %page) {
    my %seen;
    push @twice, map { "docs/$name: $_" } grep { $seen{$_}++ }
        @{ $anchors{$name} };
}

none('each link leads somewhere', @broken);
none('no heading stands twice in a page', @twice);
none('no word that must not be there', @words);
none('README.md and index.md lead to each page',
     map({ "README.md: $_" } grep { index($readme, "docs/$_)") < 0 }
         keys %page),
     map({ "index.md: $_" } grep { $_ ne 'index.md'
         && index($page{'index.md'}, "($_)") < 0 } keys %page));

done_testing;
