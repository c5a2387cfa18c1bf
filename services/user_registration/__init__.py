"""Somebody registers, and three services react, each for itself: choreography, without a flow."""
