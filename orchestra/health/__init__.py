"""Is this process well: alive, ready, and how far behind? From plain facts to the answers of three endpoints."""
