"""bench: which pretraining transfers best, and can the number be believed?"""

__version__ = "0.1.0"
