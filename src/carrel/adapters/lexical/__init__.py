"""Lexical indexes and the analyzer."""
