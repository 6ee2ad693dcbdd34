-- Tables, closures, strings and floats; luajit compiles it, so the guest makes code of its own.
local function fib(n) if n < 2 then return n end return fib(n - 1) + fib(n - 2) end

local function sieve(limit)
  local composite, count = {}, 0
  for i = 2, limit do
    if not composite[i] then
      count = count + 1
      for j = i + i, limit, i do composite[j] = true end
    end
  end
  return count
end

local function mandelbrot(size)
  local inside = 0
  for y = 0, size - 1 do
    for x = 0, size - 1 do
      local cr, ci, zr, zi, n = x * 2.8 / size - 2, y * 2.4 / size - 1.2, 0, 0, 0
      while n < 100 and zr * zr + zi * zi < 4 do
        zr, zi, n = zr * zr - zi * zi + cr, 2 * zr * zi + ci, n + 1
      end
      if n == 100 then inside = inside + 1 end
    end
  end
  return inside
end

local words = {}
for i = 1, 60000 do
  local word = string.format("w%d", i * 7919 % 1009)
  words[word] = (words[word] or 0) + #word
end
local keys = {}
for word in pairs(words) do keys[#keys + 1] = word end
table.sort(keys)

print(fib(27), sieve(400000), mandelbrot(200), #keys, words[keys[1]], words[keys[#keys]])
