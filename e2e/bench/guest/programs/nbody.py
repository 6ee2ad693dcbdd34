# The arithmetic of an interpreter: floats in lists.
def advance(bodies, dt, steps):
    for _ in range(steps):
        for i, a in enumerate(bodies):
            for b in bodies[i + 1 :]:
                dx, dy, dz = a[0] - b[0], a[1] - b[1], a[2] - b[2]
                mag = dt / ((dx * dx + dy * dy + dz * dz + 0.01) ** 1.5)
                am, bm = a[6] * mag, b[6] * mag
                a[3] -= dx * bm
                a[4] -= dy * bm
                a[5] -= dz * bm
                b[3] += dx * am
                b[4] += dy * am
                b[5] += dz * am
        for a in bodies:
            a[0] += dt * a[3]
            a[1] += dt * a[4]
            a[2] += dt * a[5]


bodies = [[i * 0.37 + 1, i * 0.91, i * 1.3, 0.01 * i, 0.02, -0.01 * i, 1 / (i + 1)] for i in range(5)]
advance(bodies, 0.001, 15000)
# pow() of the C library may differ in the last bits between processors.
print([round(x, 6) for body in bodies for x in body])
