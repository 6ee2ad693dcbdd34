# root=DEVICE [rootfstype=TYPE] [rootflags=OPTIONS] [ro|rw] [init=PATH] [overlay=tmpfs]: the kernel's own parameters,
# honoured here because the disk's driver is a module. squashfs gets a tmpfs overlay, so that the guest is writable.
enter_root() {
  root=; type=; flags=; mode=ro; overlay=; init=/sbin/init
  for word in $(cat /proc/cmdline); do
    case $word in
      root=*) root=${word#root=} ;;
      rootfstype=*) type=${word#rootfstype=} ;;
      rootflags=*) flags=,${word#rootflags=} ;;
      ro|rw) mode=$word ;;
      overlay=tmpfs) overlay=1 ;;
      init=*) init=${word#init=} ;;
    esac
  done
  case $root in
    UUID=*|LABEL=*) root=$(findfs "$root") ;;
  esac
  tries=50
  while [ ! -b "$root" ] && [ $tries -gt 0 ]; do usleep 100000; tries=$((tries - 1)); done
  [ -b "$root" ] || { echo "webkvm: no block device $root, staying in the initramfs"; return 1; }
  [ -n "$type" ] && modprobe -q "$type"
  [ "$type" = squashfs ] && overlay=1
  mkdir -p /newroot
  if [ -n "$overlay" ]; then
    modprobe -q overlay
    mkdir -p /layers
    mount -t tmpfs -o mode=755 tmpfs /layers
    mkdir -p /layers/lower /layers/upper /layers/work
    mount -o ro"$flags" ${type:+-t $type} "$root" /layers/lower &&
      mount -t overlay -o lowerdir=/layers/lower,upperdir=/layers/upper,workdir=/layers/work overlay /newroot
  else
    mount -o "$mode$flags" ${type:+-t $type} "$root" /newroot
  fi || { echo "webkvm: cannot mount $root, staying in the initramfs"; return 1; }
  for dir in proc sys dev; do
    mkdir -p /newroot/$dir
    mount --move /$dir /newroot/$dir
  done
  # A disk of ours goes on with our scripts and busybox for what it lacks; any other has an init of its own.
  if [ -x /newroot/etc/webkvm/start ]; then
    chroot /newroot /bin/busybox --install -s 2>/dev/null
    init=/etc/webkvm/start
  fi
  exec switch_root /newroot "$init"
}
