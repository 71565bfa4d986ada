package Trifecta::Fault::Power;

# A power cut, as far as files are concerned (t/fault/power.c):
#
#   my $power = Trifecta::Fault::Power->new($journal);
#   ... start the program with $power->env ...
#   ... kill it ...
#   my ($files, $lost) = $power->cut($folder);
#
# cut() leaves of each file below the folder what was synced, and returns how
# many files got shorter and how many bytes were lost.  What is in the journal
# is then what is on the disk: the next start goes on from there.

use strict;
use warnings;

use File::Find ();

use Trifecta::Fault::Link;


sub new {
    my ($class, $journal) = @_;
    return bless { journal => $journal }, $class;
}


sub env {
    my ($self) = @_;
    return (LD_PRELOAD => Trifecta::Fault::Link::tool('power.so'),
            TF_POWER_JOURNAL => $self->{journal}, TF_POWER_NOSYNC => 1);
}


# length by "device inode"

sub synced {
    my ($self) = @_;
    my %length;

    open my $fh, '<', $self->{journal} or return \%length;
    while (<$fh>) {
        my ($dev, $ino, $n) = /^(\d+) (\d+) (\d+)$/
            or die "$self->{journal}: $_";
        $length{"$dev $ino"} = $n;
    }

    return \%length;
}


sub cut {
    my ($self, $folder) = @_;
    my $length = $self->synced;
    my ($files, $lost) = (0, 0);

    File::Find::find({ no_chdir => 1, wanted => sub {
        my ($dev, $ino) = lstat or return;
        return unless -f _;
        my $size = -s _;
        my $keep = $length->{"$dev $ino"} // 0;
        return if $size <= $keep;
        truncate $_, $keep or die "$_: $!\n";
        $files++;
        $lost += $size - $keep;
    } }, $folder);

    return ($files, $lost);
}

1;
