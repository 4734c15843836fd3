/* Takes memory until there is no more, and goes on as if it had it. */
#include <stdlib.h>
#include <string.h>

int main(void)
{
    for (;;)
        memset(malloc(1 << 20), 1, 1 << 20);
}
