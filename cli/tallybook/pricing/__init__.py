"""What calls cost: dated list prices, name resolution and the stage that adds the cost columns."""
