# Ends every program that works in a folder of a test, PostgreSQL first of all, and removes the folder.
#
#   end.sh FOLDER          at once
#   end.sh FOLDER --after  when standard input ends, as it does with the process that holds its other end
folder=$1
[ "${2-}" != --after ] || cat >/dev/null

# PostgreSQL works in its data directory, and what makes one in the folder around it.
processes() {
    find /proc -mindepth 2 -maxdepth 2 -name cwd \( -lname "$folder" -o -lname "$folder/*" \) 2>/dev/null |
        cut -d/ -f3
}
# A postmaster that is asked first waits for its children, and gives back what the kernel holds for it.
signal=QUIT
tries=0
while pids=$(processes) && [ -n "$pids" ]; do
    [ "$tries" -lt 200 ] || signal=KILL
    kill -"$signal" $pids 2>/dev/null
    kill -CONT $pids 2>/dev/null
    tries=$((tries + 1))
    sleep 0.01
done

# What one that was killed leaves to the kernel: a segment of shared memory, of a few bytes.
for segment in $(sed -sn '7s/.* //p' "$folder"/data/postmaster.pid "$folder"/*/data/postmaster.pid 2>/dev/null); do
    ipcrm --shmem-id "$segment" 2>/dev/null
done
for disk in "$folder"/data "$folder"/*/data; do
    ! mountpoint --quiet "$disk" || umount --lazy "$disk"
done
rm -rf "$folder"
