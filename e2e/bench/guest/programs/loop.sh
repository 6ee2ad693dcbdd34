# The shell's own work: expansion, arithmetic, functions.
gcd() { local a=$1 b=$2 t; while ((b)); do t=$((a % b)); a=$b; b=$t; done; result=$a; }
total=0
for ((i = 1; i <= 4000; i++)); do
  gcd $((i * 7919 % 10007)) $((i + 360))
  text="item-$i-$result"
  case $text in *-1) total=$((total + ${#text})) ;; *) total=$((total + result)) ;; esac
done
echo $total ${text//-/+}
