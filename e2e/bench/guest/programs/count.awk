# Word counts of a text: fields, arrays, string functions.
{ for (i = 1; i <= NF; i++) { count[$i]++; length_of[length($i)]++ } lines += /th/ }
END { for (word in count) n += count[word] * length(word); print lines, NR, n, length_of[3], substr($0, 1, 20) }
