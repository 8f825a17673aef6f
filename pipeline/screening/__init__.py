"""Screening before training: the attributes and properties of pictures that predict the class by themselves."""
