regions = {
  westeurope = {
    address_space = "10.20.0.0/16"
    instances     = 2
  }
}

request_limit = 100
