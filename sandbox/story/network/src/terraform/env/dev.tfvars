regions = {
  westeurope = {
    address_space = "10.10.0.0/16"
    instances     = 1
  }
}

request_limit = 100
