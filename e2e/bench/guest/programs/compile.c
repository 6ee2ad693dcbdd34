/* Something for a compiler to do: an expression evaluator, containers, formatting. */
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIST(type, name)                                                                        \
  struct name {                                                                                 \
    type *items;                                                                                \
    size_t count, room;                                                                         \
  };                                                                                            \
  static void name##_push(struct name *list, type item) {                                       \
    if (list->count == list->room) {                                                            \
      list->room = list->room ? list->room * 2 : 8;                                             \
      list->items = realloc(list->items, list->room * sizeof(type));                            \
    }                                                                                           \
    list->items[list->count++] = item;                                                          \
  }                                                                                             \
  static void name##_sort(struct name *list, int (*less)(const type *, const type *)) {         \
    for (size_t gap = list->count / 2; gap; gap /= 2)                                           \
      for (size_t i = gap; i < list->count; i++)                                                \
        for (size_t j = i; j >= gap && less(&list->items[j], &list->items[j - gap]); j -= gap) { \
          type swap = list->items[j];                                                           \
          list->items[j] = list->items[j - gap], list->items[j - gap] = swap;                   \
        }                                                                                       \
  }                                                                                             \
  static int name##_find(const struct name *list, type wanted, int (*less)(const type *, const type *)) { \
    size_t low = 0, high = list->count;                                                         \
    while (low < high) {                                                                        \
      size_t middle = (low + high) / 2;                                                         \
      if (less(&list->items[middle], &wanted)) low = middle + 1;                                \
      else high = middle;                                                                       \
    }                                                                                           \
    return low < list->count ? (int)low : -1;                                                   \
  }

struct point {
  double x, y, z;
};
LIST(int, ints)
LIST(long long, longs)
LIST(double, doubles)
LIST(struct point, points)

static int less_int(const int *a, const int *b) { return *a < *b; }
static int less_long(const long long *a, const long long *b) { return *a < *b; }
static int less_double(const double *a, const double *b) { return *a < *b; }
static int less_point(const struct point *a, const struct point *b) {
  return a->x != b->x ? a->x < b->x : a->y != b->y ? a->y < b->y : a->z < b->z;
}

enum kind { END, NUMBER, NAME, PLUS, MINUS, TIMES, DIVIDE, OPEN, CLOSE, ASSIGN, LESS, MORE, WRONG };
struct token {
  enum kind kind;
  double value;
  char name[32];
};
struct parser {
  const char *at;
  struct token now;
  double values[26];
  const char *error;
};

static void next(struct parser *p) {
  while (isspace((unsigned char)*p->at)) p->at++;
  struct token *t = &p->now;
  const char *start = p->at;
  if (!*p->at) {
    t->kind = END;
  } else if (isdigit((unsigned char)*p->at)) {
    char *end;
    t->kind = NUMBER, t->value = strtod(p->at, &end), p->at = end;
  } else if (isalpha((unsigned char)*p->at)) {
    while (isalnum((unsigned char)*p->at)) p->at++;
    size_t n = (size_t)(p->at - start) < sizeof t->name - 1 ? (size_t)(p->at - start) : sizeof t->name - 1;
    memcpy(t->name, start, n), t->name[n] = 0, t->kind = NAME;
  } else {
    switch (*p->at++) {
    case '+': t->kind = PLUS; break;
    case '-': t->kind = MINUS; break;
    case '*': t->kind = TIMES; break;
    case '/': t->kind = DIVIDE; break;
    case '(': t->kind = OPEN; break;
    case ')': t->kind = CLOSE; break;
    case '=': t->kind = ASSIGN; break;
    case '<': t->kind = LESS; break;
    case '>': t->kind = MORE; break;
    default: t->kind = WRONG, p->error = "unknown character";
    }
  }
}

static double comparison(struct parser *p);
static double atom(struct parser *p) {
  double value = 0;
  switch (p->now.kind) {
  case NUMBER: value = p->now.value, next(p); break;
  case NAME: {
    int index = tolower((unsigned char)p->now.name[0]) - 'a';
    next(p);
    if (p->now.kind == ASSIGN) next(p), p->values[index] = comparison(p);
    value = p->values[index];
    break;
  }
  case OPEN:
    next(p), value = comparison(p);
    if (p->now.kind != CLOSE) p->error = "no closing parenthesis";
    next(p);
    break;
  case MINUS: next(p), value = -atom(p); break;
  default: p->error = "no operand", next(p);
  }
  return value;
}
static double product(struct parser *p) {
  double value = atom(p);
  while (p->now.kind == TIMES || p->now.kind == DIVIDE) {
    enum kind kind = p->now.kind;
    next(p);
    double other = atom(p);
    value = kind == TIMES ? value * other : other != 0 ? value / other : (p->error = "division by zero", 0);
  }
  return value;
}
static double sum(struct parser *p) {
  double value = product(p);
  while (p->now.kind == PLUS || p->now.kind == MINUS) {
    enum kind kind = p->now.kind;
    next(p);
    value += kind == PLUS ? product(p) : -product(p);
  }
  return value;
}
static double comparison(struct parser *p) {
  double value = sum(p);
  while (p->now.kind == LESS || p->now.kind == MORE) {
    enum kind kind = p->now.kind;
    next(p);
    double other = sum(p);
    value = kind == LESS ? value < other : value > other;
  }
  return value;
}

static size_t print(char *out, size_t room, const char *format, ...) {
  va_list list;
  va_start(list, format);
  size_t n = 0;
  for (; *format && n + 1 < room; format++) {
    if (*format != '%') {
      out[n++] = *format;
      continue;
    }
    char digits[64];
    int count = 0;
    switch (*++format) {
    case 'd': {
      int value = va_arg(list, int), negative = value < 0;
      unsigned rest = negative ? 0u - (unsigned)value : (unsigned)value;
      do digits[count++] = '0' + rest % 10;
      while (rest /= 10);
      if (negative) digits[count++] = '-';
      while (count && n + 1 < room) out[n++] = digits[--count];
      break;
    }
    case 's':
      for (const char *s = va_arg(list, const char *); *s && n + 1 < room; s++) out[n++] = *s;
      break;
    case 'f': n += snprintf(out + n, room - n, "%.3f", va_arg(list, double)); break;
    default: out[n++] = *format;
    }
  }
  va_end(list);
  out[n] = 0;
  return n;
}

#define MATRIX(type, name, size)                                                                       \
  static void name(type out[size][size], type a[size][size], type b[size][size]) {                     \
    for (int i = 0; i < size; i++)                                                                     \
      for (int j = 0; j < size; j++) {                                                                 \
        type total = 0;                                                                                \
        for (int k = 0; k < size; k++) total += a[i][k] * b[k][j];                                     \
        out[i][j] = total;                                                                             \
      }                                                                                                \
  }
MATRIX(float, multiply_f4, 4)
MATRIX(double, multiply_d4, 4)
MATRIX(int, multiply_i8, 8)
MATRIX(double, multiply_d8, 8)
MATRIX(unsigned char, multiply_b16, 16)

int main(int argc, char **argv) {
  struct parser p = {.at = argc > 1 ? argv[1] : "a = 3 * (4 + 5) - 6 / (7 - 8) < 100"};
  next(&p);
  double value = comparison(&p);
  char text[200];
  print(text, sizeof text, "%s: %f, %d\n", p.error ? p.error : "ok", value, argc);
  fputs(text, stdout);
  struct ints i = {0};
  struct longs l = {0};
  struct doubles d = {0};
  struct points q = {0};
  for (int k = 0; k < 1000; k++) {
    ints_push(&i, k * 7919 % 1009), longs_push(&l, (long long)k * k % 8191), doubles_push(&d, k / 7.0 - k % 13);
    points_push(&q, (struct point){k % 11, k % 7, k % 5});
  }
  ints_sort(&i, less_int), longs_sort(&l, less_long), doubles_sort(&d, less_double), points_sort(&q, less_point);
  float f[4][4] = {{1}}, g[4][4];
  double m[4][4] = {{1}}, n[4][4], o[8][8] = {{1}}, r[8][8];
  int s[8][8] = {{1}}, t[8][8];
  unsigned char u[16][16] = {{1}}, v[16][16];
  multiply_f4(g, f, f), multiply_d4(n, m, m), multiply_d8(r, o, o), multiply_i8(t, s, s), multiply_b16(v, u, u);
  printf("%d %d %d %d %f %f %f %d %d\n", ints_find(&i, 5, less_int), longs_find(&l, 9, less_long),
         doubles_find(&d, 1, less_double), points_find(&q, (struct point){3, 2, 1}, less_point), g[0][0], n[0][0],
         r[0][0], t[0][0], v[0][0]);
  return 0;
}
