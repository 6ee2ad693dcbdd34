# Dictionaries, strings, objects, sorting.
class Account:
    __slots__ = ("name", "sum", "moves")

    def __init__(self, name):
        self.name, self.sum, self.moves = name, 0, []

    def move(self, amount):
        self.sum += amount
        self.moves.append(amount)


accounts, seed = {}, 1
for i in range(300000):
    seed = (seed * 48271) % 2147483647
    name = f"account-{seed % 5000}"
    if name not in accounts:
        accounts[name] = Account(name)
    accounts[name].move(seed % 1000 - 500)
best = sorted(accounts.values(), key=lambda a: (-a.sum, a.name))
counts = {}
for account in best:
    for amount in account.moves:
        counts[amount] = counts.get(amount, 0) + 1
print(len(accounts), best[0].name, best[0].sum, sum(k * v for k, v in counts.items()))
