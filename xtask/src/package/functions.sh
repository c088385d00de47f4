# Functions of the trials of the units.

# Waits until a command succeeds, for a minute at most.
until_true() {
    tries=600
    until "$@" >/dev/null 2>&1; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || return 1
        sleep 0.1
    done
}
said() { control show --property "$1" --value "$service"; }
has_restarted() { [ "$(said NRestarts)" = "$1" ] && [ "$(said ActiveState)" = active ]; }
