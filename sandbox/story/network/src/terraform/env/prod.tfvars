regions = {
  westeurope = {
    address_space = "10.30.0.0/16"
    instances     = 3
  }
}

request_limit = 100
