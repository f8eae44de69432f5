"""Row lengths as instruction data has them, for both sides of a comparison: `python benches/peers/lengths.py > benches/peers/lengths.txt`.

Log-normal, 24 to 1024 tokens, mean about 150. The seed is fixed, and so is the file.
"""

import random

draw = random.Random(7)
print("\n".join(str(max(24, min(1024, round(draw.lognormvariate(4.82, 0.68))))) for _ in range(512)))
