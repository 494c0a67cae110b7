module bimetal/gobreaker-oracle

go 1.25

require github.com/sony/gobreaker/v2 v2.3.0
