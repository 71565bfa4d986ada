package Trifecta::Test::Old;

# What a stack would have if it had run for long: partitions of old days, and
# rows of jobs that ended then.  Each takes the stack and a number of days.

use strict;
use warnings;

use Exporter qw(import);
use POSIX qw(strftime);

our @EXPORT_OK = qw(day old_partitions old_rows old_left);


sub day { strftime '%Y%m%d', gmtime(time - 86400 * $_[0]) }


# As they were made when the day was new.

sub old_partitions {
    my ($t, $days) = @_;

    for my $tab (qw(job job_result job_step)) {
        my $name = "trifecta.${tab}_" . day($days);
        $t->sql('admin', "CREATE TABLE $name (LIKE trifecta.$tab INCLUDING"
            . ' DEFAULTS INCLUDING CONSTRAINTS)');
        $t->sql('admin', "ALTER TABLE $name OWNER TO trifecta_owner");
        my ($lo, $hi) = map { $t->sql('admin', 'SELECT trifecta.first_id('
            . "to_date(?, 'YYYYMMDD')::timestamp AT TIME ZONE 'UTC')",
            day($_))->[0][0] } $days, $days - 1;
        $t->sql('admin', "ALTER TABLE trifecta.$tab ATTACH PARTITION $name"
            . " FOR VALUES FROM ('$lo') TO ('$hi')");
    }
}


# Jobs that have ended, in the order of their ids.

sub old_rows {
    my ($t, $days, $count) = @_;

    $t->sql('admin', <<'SQL', $days, $count);
WITH ids AS (SELECT (substr(trifecta.first_id(now() - ? * interval '1 day')
                     ::text, 1, 13) || '-7000-8000-'
                     || lpad(to_hex(i), 12, '0'))::uuid AS id
             FROM generate_series(1, ?) AS i),
     jobs AS (INSERT INTO trifecta.job (id, tenant, owner, kind, model, prio,
              state, attempt, accepted, finished, deadline)
              SELECT id, 'default', 'test:many', 'query', 'test', 1,
              'succeeded', 1, now(), now(), now() FROM ids RETURNING id)
INSERT INTO trifecta.job_result (job, tenant, owner, attempt, body)
SELECT id, 'default', 'test:many', 1, 'x' FROM jobs
SQL
}


# How many of these rows are left, with their results.

sub old_left {
    my ($t) = @_;
    return $t->sql('admin', "SELECT (SELECT count(*) FROM trifecta.job WHERE "
        . "owner = 'test:many') + (SELECT count(*) FROM trifecta.job_result "
        . "WHERE owner = 'test:many')")->[0][0];
}


1;
