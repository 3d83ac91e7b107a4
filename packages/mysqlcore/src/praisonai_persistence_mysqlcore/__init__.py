"""What the backends that speak MySQL's protocol share: settings, errors, connections of two drivers, the dialect.

A library: it registers no backend.
"""

from praisonai_persistence_mysqlcore.dialect import MySQL
from praisonai_persistence_mysqlcore.requests import Transaction
from praisonai_persistence_mysqlcore.session import Traits
from praisonai_persistence_mysqlcore.store import MySQLStore

__all__ = ["MySQL", "MySQLStore", "Traits", "Transaction"]
