# Python starts and adds.
print(1 + 1)
