"""What older API versions say differently: their requests made current, answers made theirs."""
