/* Never ends. */
#include <stdio.h>

int main(void)
{
    for (;;) {
    }
}
