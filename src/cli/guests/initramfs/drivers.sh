# Loads modules by what the buses report (modalias), bus by bus, because a driver of one bus makes the next appear.
# One modprobe for all aliases of a bus: a process each would cost more than the loading.
load_bus() {
  set -- /sys/bus/"$1"/devices/*/modalias
  [ -e "$1" ] || return 0
  modprobe -a -q $(cat "$@" | sort -u) 2>/dev/null
  return 0
}

load_drivers() {
  load_bus pci
  load_bus virtio
  load_bus acpi
  [ -d /sys/class/scsi_host ] && modprobe -a -q sd_mod sr_mod 2>/dev/null
  [ -e /sys/bus/acpi/drivers/button ] && modprobe -q evdev 2>/dev/null
  return 0
}
