# A model that answers with the question: all of an installation but the model.

use strict;
use warnings;
use utf8;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;

use Trifecta::Test;

my $t = Trifecta::Test->new(start => 0, models => 'echo extractive');
$t->{opt}{sidecar}{models} = $t->write_file("$t->{dir}/conf/models.conf", <<'END');
[echo]
provider  = echo
retrieval = off
END
$t->write_conf;
$t->start_all;

sub answer_to { $t->ask_and_wait($_[0]) }

my $text = "Grüße, \"twice\"\nand a second line 🙂";
my $res = answer_to($text);
is $res->{response}, $text, 'it_answers_with_the_question';
is $res->{status}, 'succeeded', 'as a job like any other';
is_deeply $res->{citations}, [], 'and cites nothing';

unlike answer_to('see https://evil.example/x?y=z and ![a](http://b.example/c)')
    ->{response}, qr/!\[/, 'its_text_is_checked_as_that_of_any_model';

my $chat = $t->post('/v1/chat/completions', { model => 'echo',
    messages => [{ role => 'user', content => 'hello' }] });
is $chat->{json}{choices}[0]{message}{content}, 'hello',
    'it answers in the shape of chat completions, too';

my $stream = $t->post('/v1/chat/completions', { model => 'echo', stream => \1,
    messages => [{ role => 'user', content => 'hello' }] });
like $stream->{content}, qr/"content":"hello"/, 'and as a stream';
like $stream->{content}, qr/data: \[DONE\]\s*\z/, 'that ends';

my (undef, $list) = $t->run({ env => { TRIFECTA_MODELS =>
    "$t->{dir}/conf/models.conf" } }, 'models');
like $list, qr/^echo\b/m, 'trifecta models lists it';
(undef, $list) = $t->run({ env => { TRIFECTA_MODELS => '' } }, 'models');
unlike $list, qr/^echo\b/m, 'nobody_has_it_without_a_section';

$t->finish;
done_testing;
