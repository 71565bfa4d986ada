package Trifecta::Test::Models;

# Documents, and models of a scripted server (Trifecta::Test::ModelServer) that
# answer questions about them.
#
#   use_models($t, $server, { name => "lines\n", ... }, "lines of all\n")
#       writes the table of models (each is of provider openai, at the server)
#       and lets sidecars and nginx know them; "extractive" is the first one.
#       Before start_all, or again later.
#   document($t, $name, $text, @options)
#       ingests a file, with the options of "trifecta ingest"; one assertion

use strict;
use warnings;

use Exporter 'import';
use Test::More;

our @EXPORT = qw(use_models document);


sub use_models {
    my ($t, $server, $models, $all) = @_;
    my $file = $t->dir . '/models.conf';

    $t->write_file($file, join '', map {
        "[$_]\nprovider = openai\nbase_url = " . $server->url . "/v1\n"
        . ($all // '') . ($models->{$_} // '') . "\n" } sort keys %$models);
    $t->{opt}{sidecar}{models} = $file;
    $t->{opt}{models} = join ' ', 'extractive', sort keys %$models;
    $t->write_conf;

    return $file;
}


sub document {
    my ($t, $name, $text, @options) = @_;
    my $dir = $t->dir . '/docs';
    local $Test::Builder::Level = $Test::Builder::Level + 1;

    mkdir $dir;
    $t->write_file("$dir/$name", $text, 0644);
    my ($status, $out, $err) = $t->run('ingest', @options, "$dir/$name");

    return is($status, 0, "ingested: $name") || diag $out, $err;
}


1;
