module example.org/ada/cache

go 1.24.1

require golang.org/x/text v0.21.0
