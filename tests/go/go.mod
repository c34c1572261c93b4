module vitrine.test

go 1.19
