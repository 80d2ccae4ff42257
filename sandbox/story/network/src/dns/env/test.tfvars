records = {
  www = "network-test.acme.example"
}
